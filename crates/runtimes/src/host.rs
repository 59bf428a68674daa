//! The one seam to the outside: a machine that runs containers.

pub mod docker;
pub mod fake;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use omgservers_api::{
    DeploymentId, Problem, RuntimeId, RuntimeQualifier, TenantId,
    config::{PortConfig, PortProtocol},
};

use crate::Host;

/// One attempt to run a runtime. The epoch grows with each attempt, so an older container is never
/// taken for the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The runtime.
    pub runtime: RuntimeId,
    /// Which attempt, from 1.
    pub epoch: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.runtime, self.epoch)
    }
}

/// The variable that carries the trace of a start into the container, in the form of the header
/// `traceparent`.
pub const TRACE_PARENT: &str = "TRACEPARENT";

/// What a container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its attempt.
    pub attempt: Attempt,
    /// Containers of one tenant share a network.
    pub tenant: TenantId,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Lobby or match.
    pub qualifier: RuntimeQualifier,
    /// The image that it runs.
    pub image: ImageName,
    /// CPU, 100 = one core.
    pub cpu: u32,
    /// Memory in MiB; there is no swap.
    pub memory: u32,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Ports of it that are published on free ports of the host.
    pub ports: Vec<PortConfig>,
    /// Labels besides those that identify the container.
    pub labels: Vec<(String, String)>,
}

/// An image by its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// The repository, without host and tag.
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
}

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    /// Created, and not started yet.
    Created,
    /// It runs.
    Running,
    /// It came to an end.
    Ended,
    /// It isn't there.
    Gone,
}

/// A container of ours as the host lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Which attempt it is.
    pub attempt: Attempt,
    /// Its state.
    pub status: ContainerStatus,
    /// Its ports, as long as it runs.
    pub ports: Vec<PublishedPort>,
}

/// A port of a container and where the host has put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// Its protocol.
    pub protocol: PortProtocol,
    /// The port in the container.
    pub container: u16,
    /// The port on the host.
    pub host: u16,
}

/// How a container came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// The exit code of its process.
    pub code: i64,
    /// Whether the kernel ended it for lack of memory.
    pub out_of_memory: bool,
    /// The end of its log, at most [`LOG_TAIL_BYTES`] and [`LOG_TAIL_LINES`].
    pub log_tail: String,
}

/// The most bytes of a log that are kept.
pub const LOG_TAIL_BYTES: usize = 8 * 1024;
/// The most lines of a log that are kept.
pub const LOG_TAIL_LINES: usize = 40;

/// The result of an inspection of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its state.
    pub status: ContainerStatus,
    /// Its exit, when it is [`ContainerStatus::Ended`]; otherwise empty.
    pub exit: Exit,
}

impl Inspection {
    /// A container that has ended.
    pub(crate) fn ended(exit: Exit) -> Self {
        Self { status: ContainerStatus::Ended, exit }
    }
}

/// A container that has no exit.
impl From<ContainerStatus> for Inspection {
    fn from(status: ContainerStatus) -> Self {
        Self { status, exit: Exit::default() }
    }
}

/// Something happened to a container of ours. A hint: the reconciler inspects the container before
/// it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostEvent {
    /// Which container.
    pub attempt: Attempt,
    /// The state in which the event leaves the container.
    pub status: ContainerStatus,
}

/// Why an operation on a host failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It doesn't answer.
    #[error("the Docker host doesn't answer: {0}")]
    Unreachable(String),
    /// The image isn't there.
    #[error("the image is not on the Docker host: {0}")]
    NoImage(String),
    /// The host refuses the operation.
    #[error("{0}")]
    Refused(String),
}

/// Why a container wasn't started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct StartError {
    /// The error of the host.
    pub error: HostError,
    /// Whether the container may have run despite the error. If not, another attempt does no harm.
    pub may_have_run: bool,
}

/// An error before the start of a container: nothing can have run.
impl From<HostError> for StartError {
    fn from(error: HostError) -> Self {
        Self { error, may_have_run: false }
    }
}

/// Mints tokens that allow a Docker host to pull one repository.
#[async_trait::async_trait]
pub trait PullTokens: Send + Sync {
    /// Mints a registry token for pulling `repository`, valid for at least 15 minutes.
    async fn token(&self, repository: &str) -> Result<String, Problem>;
}

/// A machine that runs containers. Each method is idempotent: to stop a container that is gone, or
/// to create one that is there, succeeds. Any task may call any method at any time.
#[async_trait::async_trait]
pub trait ContainerHost: Send + Sync {
    /// Checks that the host answers.
    async fn ping(&self) -> Result<(), HostError>;

    /// Lists all containers of this installation, also those that have ended.
    async fn list(&self) -> Result<Vec<Container>, HostError>;

    /// Pulls the image unless it is there. Mints a token only for a pull.
    async fn ensure_image(&self, image: &ImageName, tokens: &dyn PullTokens) -> Result<(), HostError>;

    /// Creates and starts a container, and replaces one of the same attempt with another
    /// description. After a failure nothing is left on a host that still answers. Returns the
    /// published ports, as far as the host reports them at once; [`list`](Self::list) returns the
    /// others.
    async fn start(&self, spec: &ContainerSpec) -> Result<Vec<PublishedPort>, StartError>;

    /// Returns the state of a container and, if it has ended, its exit.
    async fn inspect(&self, attempt: Attempt) -> Result<Inspection, HostError>;

    /// Removes a container that was made and never ran. `false` when it ran or isn't there: then
    /// nothing is done.
    async fn remove_unstarted(&self, attempt: Attempt) -> Result<bool, HostError>;

    /// Stops a container, after `grace` by force, and removes it.
    async fn remove(&self, attempt: Attempt, grace: Duration) -> Result<(), HostError>;

    /// Removes what containers leave behind: networks of tenants without a container. Called after
    /// each [`list`](Self::list).
    async fn prune(&self) -> Result<(), HostError>;

    /// Streams the events of this installation's containers from this call on. Ends with an error
    /// when the connection to the host ends.
    async fn events(&self) -> Result<BoxStream<'static, Result<HostEvent, HostError>>, HostError>;
}

/// Reaches the hosts of a pool.
pub trait HostConnector: Send + Sync {
    /// Makes a client for `host`, which the caller keeps. Sends nothing to the host.
    fn connect(&self, host: &Host) -> Result<Arc<dyn ContainerHost>, HostError>;
}

/// A piece of a log.
pub(crate) struct Piece {
    /// Whether it was written to the standard error.
    pub(crate) error: bool,
    /// What was written.
    pub(crate) text: Vec<u8>,
}

/// Returns the end of a log, fit for PostgreSQL, which has no NUL in a text. Docker interleaves
/// both streams, so a panic may stand before much output that was older. Therefore up to half of
/// the kept lines are errors, wherever they stand.
pub(crate) fn log_tail(log: &[Piece]) -> String {
    let clean = |line: &str| -> String {
        let mut kept: String = line.chars().filter(|it| *it == '\t' || !it.is_control()).collect();
        while kept.len() >= LOG_TAIL_BYTES {
            kept.remove(0);
        }
        kept
    };
    let mut lines: Vec<(bool, String)> = Vec::new();
    for piece in log {
        let from = piece.text.len().saturating_sub(LOG_TAIL_BYTES);
        let text = String::from_utf8_lossy(piece.text.get(from..).unwrap_or_default());
        lines.extend(text.lines().map(|it| (piece.error, clean(it))));
    }
    let (mut all, mut bytes) = (0usize, 0usize);
    let mut keep = vec![false; lines.len()];
    for errors_only in [true, false] {
        for ((error, line), keep) in lines.iter().zip(&mut keep).rev() {
            let most = if errors_only { LOG_TAIL_LINES / 2 } else { LOG_TAIL_LINES };
            let fits = bytes.saturating_add(line.len()) < LOG_TAIL_BYTES && all < most;
            if *keep || (errors_only && !error) {
                continue;
            }
            if !fits {
                break;
            }
            *keep = true;
            all = all.saturating_add(1);
            bytes = bytes.saturating_add(line.len()).saturating_add(1);
        }
    }
    let kept: Vec<&str> = lines.iter().zip(&keep).filter(|it| *it.1).map(|it| it.0.1.as_str()).collect();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(error: bool, text: &str) -> Piece {
        Piece { error, text: text.into() }
    }

    #[test]
    fn the_tail_is_the_end() {
        let log: Vec<Piece> = (1..=100).map(|it| piece(false, &format!("line {it}\n"))).collect();
        let tail = log_tail(&log);
        assert!(tail.starts_with("line 61\n") && tail.ends_with("line 100"), "{tail}");
    }

    #[test]
    fn errors_are_kept_where_many_lines_follow_them() {
        let mut log = vec![piece(true, "thread 'main' panicked\n")];
        log.extend((1..=100).map(|it| piece(false, &format!("line {it}\n"))));
        let tail = log_tail(&log);
        assert!(tail.starts_with("thread 'main' panicked\nline 62\n"), "{tail}");
        assert_eq!(tail.lines().count(), LOG_TAIL_LINES);
    }

    #[test]
    fn a_log_without_line_ends_is_cut_in_front() {
        let tail = log_tail(&[piece(false, &format!("{}the end", "x".repeat(20_000)))]);
        assert!(tail.ends_with("the end") && tail.len() > LOG_TAIL_BYTES / 2, "{}", tail.len());
    }

    proptest! {
        #[test]
        fn any_log_makes_a_tail_that_can_be_kept(
            log in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..3_000)), 0..12),
        ) {
            let log: Vec<Piece> = log.into_iter().map(|(error, text)| Piece { error, text }).collect();
            let tail = log_tail(&log);
            prop_assert!(tail.len() <= LOG_TAIL_BYTES && tail.lines().count() <= LOG_TAIL_LINES);
            prop_assert!(!tail.contains('\0'));
        }
    }
}
