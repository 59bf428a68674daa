//! Docker hosts. bollard is used here and nowhere else.

mod body;
mod connect;
mod network;
mod ports;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bollard::{
    Docker,
    auth::DockerCredentials,
    container::LogOutput,
    errors::Error,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Now,
        ContainerSummaryStateEnum as Listed,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
        InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use omgservers_api::{RuntimeId, TenantId};

use self::network::Networks;
use super::{
    Attempt, Container, ContainerHost, ContainerSpec, ContainerStatus, Exit, HostConnector, HostError,
    HostEvent, ImageName, Inspection, Piece, PublishedPort, PullTokens, StartError, TRACE_PARENT, log_tail,
};
use crate::{Host, HostConfig};

/// The label with the installation's id.
pub const INSTALLATION: &str = "omgservers.installation";
const RUNTIME: &str = "omgservers.runtime";
const EPOCH: &str = "omgservers.epoch";
const DEPLOYMENT: &str = "omgservers.deployment";
const TENANT: &str = "omgservers.tenant";
const QUALIFIER: &str = "omgservers.qualifier";

/// How much of a log is read to find what is worth keeping.
const LOG_READ_LINES: usize = 400;
/// The exit code of a program that was ended by SIGKILL.
const KILLED: i64 = 137;
/// How often a killed container is read again. Docker learns of the kill and of a lack of memory by
/// two events. They come in any order, on a busy machine with a pause between them.
const OOM_READS: usize = 20;
/// The pauses between these.
const OOM_PAUSE: Duration = Duration::from_millis(50);
const LOG_READ_BYTES: usize = 256 * 1024;

/// Where hosts take images from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// They pull `<address>/<repository>@<digest>` from a registry, with a token of ours. Docker
    /// takes loopback addresses without TLS; others need TLS or the daemon's leave.
    Registry {
        /// `host:port`, as the Docker hosts reach it.
        address: String,
    },
    /// Whoever runs the host has loaded them: the digest is the id of a local image. Nothing is
    /// ever pulled.
    Local,
}

/// How containers are made on Docker hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// Tells the containers of this installation from others on the same host; must never change.
    pub installation: String,
    /// Where hosts take images from.
    pub images: Images,
    /// The most processes and threads of a container.
    pub pids_limit: u32,
    /// The most open files of a process.
    pub open_files: u32,
    /// The size of `/tmp`, MiB; it counts as memory of the container.
    pub tmp_size: u32,
    /// The address of the hosts on which ports of containers are published.
    pub publish_on: IpAddr,
}

impl DockerConfig {
    /// The usual bounds.
    pub fn new(installation: impl Into<String>, images: Images) -> Self {
        let installation = installation.into();
        let publish_on = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { installation, images, pids_limit: 256, open_files: 4096, tmp_size: 16, publish_on }
    }

    /// The installation's id as a part of names.
    fn short(&self) -> String {
        self.installation
            .chars()
            .map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' })
            .take(24)
            .collect()
    }
}

/// Reaches Docker hosts.
#[derive(Debug, Clone)]
pub struct DockerConnector {
    config: Arc<DockerConfig>,
}

impl DockerConnector {
    /// Makes containers as `config` says.
    pub fn new(config: DockerConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

impl HostConnector for DockerConnector {
    fn connect(&self, host: &Host) -> Result<Arc<dyn ContainerHost>, HostError> {
        Ok(Arc::new(DockerHost::connect(Arc::clone(&self.config), &host.config)?))
    }
}

/// A Docker host.
pub struct DockerHost {
    docker: Docker,
    config: Arc<DockerConfig>,
    networks: Networks,
    /// One pull per image at a time; the callers that wait for it find the image.
    pulls: Mutex<HashMap<ImageName, Weak<tokio::sync::Mutex<()>>>>,
    /// The tenants that had containers at the last list.
    tenants: Mutex<HashSet<TenantId>>,
}

impl DockerHost {
    /// A client. Nothing is sent yet.
    pub fn connect(config: Arc<DockerConfig>, host: &HostConfig) -> Result<Self, HostError> {
        let docker = connect::docker(host)?;
        let networks = Networks::new(docker.clone(), Arc::clone(&config));
        Ok(Self { docker, config, networks, pulls: Mutex::default(), tenants: Mutex::default() })
    }

    fn name(&self, attempt: Attempt) -> String {
        // Ids are unique in one database only: two installations on one host may have the same.
        format!("omg-{}-{attempt}", self.config.short())
    }

    fn reference(&self, image: &ImageName) -> String {
        match &self.config.images {
            Images::Registry { address } => format!("{address}/{}@{}", image.repository, image.digest),
            Images::Local => image.digest.clone(),
        }
    }

    fn ours(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{INSTALLATION}={}", self.config.installation)])])
    }

    async fn is_there(&self, reference: &str) -> Result<bool, HostError> {
        match self.docker.inspect_image(reference).await {
            Ok(_) => Ok(true),
            Err(error) if status_of(&error) == Some(404) => Ok(false),
            Err(error) => Err(host_error(&error)),
        }
    }

    fn pull_turn(&self, image: &ImageName) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = pulls.get(image).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        pulls.insert(image.clone(), Arc::downgrade(&turn));
        turn
    }

    async fn pull(&self, address: &str, image: &ImageName, token: String) -> Result<(), HostError> {
        let from = format!("{address}/{}", image.repository);
        let options = CreateImageOptionsBuilder::default().from_image(&from).tag(&image.digest).build();
        let credentials = DockerCredentials { registrytoken: Some(token), ..Default::default() };
        let pulled = self.docker.create_image(Some(options), None, Some(credentials));
        pulled.try_for_each(|_progress| async { Ok(()) }).await.map_err(|it| host_error(&it))
    }

    async fn read_container(&self, name: &str) -> Result<Option<ContainerInspectResponse>, HostError> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(host_error(&error)),
        }
    }

    /// Makes the container. A container of the same name with another environment is of an earlier
    /// life of the runtime. It has a password that nobody knows any more.
    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), HostError> {
        let options = || Some(CreateContainerOptionsBuilder::default().name(name).build());
        let Err(error) = self.docker.create_container(options(), body.clone()).await else { return Ok(()) };
        match status_of(&error) {
            Some(409) => {
                let there =
                    self.read_container(name).await?.and_then(|it| it.config?.env).unwrap_or_default();
                // The trace is that of the run that creates the container, so a retry has another
                // one.
                let mut lasting = body.env.iter().flatten().filter(|pair| !pair.starts_with(TRACE_PARENT));
                if lasting.all(|pair| there.contains(pair)) {
                    return Ok(());
                }
                self.remove_now(name).await?;
                self.docker
                    .create_container(options(), body)
                    .await
                    .map(drop)
                    .map_err(|error| create_error(&error))
            }
            _ => Err(create_error(&error)),
        }
    }

    /// Runs a container that was made.
    async fn run(&self, name: &str) -> Result<(), StartError> {
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| {
            // A daemon that says no has not run it; every other answer says nothing.
            let may_have_run = status_of(&error).is_none();
            StartError { error: host_error(&error), may_have_run }
        })
    }

    async fn remove_now(&self, name: &str) -> Result<(), HostError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            // Gone, or going.
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(host_error(&error)),
        }
    }

    /// The state of an ended container when Docker had the time to record why it was killed.
    async fn with_reason(&self, name: &str, mut state: ContainerState) -> Result<ContainerState, HostError> {
        for _ in 0..OOM_READS {
            if state.exit_code != Some(KILLED) || state.oom_killed == Some(true) {
                break;
            }
            tokio::time::sleep(OOM_PAUSE).await;
            match self.read_container(name).await?.and_then(|it| it.state) {
                Some(newer) => state = newer,
                None => break,
            }
        }
        Ok(state)
    }

    async fn exit(&self, name: &str, state: &ContainerState) -> Exit {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&LOG_READ_LINES.to_string()).build();
        let (mut log, mut bytes) = (VecDeque::new(), 0usize);
        let mut pieces = self.docker.logs(name, Some(options));
        while let Some(Ok(piece)) = pieces.next().await {
            let error = matches!(piece, LogOutput::StdErr { .. });
            let text = piece.into_bytes().to_vec();
            bytes = bytes.saturating_add(text.len());
            log.push_back(Piece { error, text });
            // A line has no bound of its own.
            while bytes > LOG_READ_BYTES
                && let Some(oldest) = log.pop_front()
            {
                bytes = bytes.saturating_sub(oldest.text.len());
            }
        }
        Exit {
            code: state.exit_code.unwrap_or(-1),
            out_of_memory: state.oom_killed.unwrap_or(false),
            log_tail: log_tail(log.make_contiguous()),
        }
    }
}

#[async_trait::async_trait]
impl ContainerHost for DockerHost {
    async fn ping(&self) -> Result<(), HostError> {
        self.docker.ping().await.map(drop).map_err(|it| host_error(&it))
    }

    async fn list(&self) -> Result<Vec<Container>, HostError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&self.ours()).build();
        let found = self.docker.list_containers(Some(options)).await.map_err(|it| host_error(&it))?;
        let mut tenants = HashSet::new();
        let mut list = Vec::with_capacity(found.len());
        for container in found {
            let labels = container.labels.unwrap_or_default();
            tenants.extend(labels.get(TENANT).and_then(|it| it.parse::<TenantId>().ok()));
            let status = match container.state {
                Some(Listed::CREATED) => ContainerStatus::Created,
                Some(Listed::EXITED | Listed::DEAD | Listed::REMOVING) => ContainerStatus::Ended,
                _ => ContainerStatus::Running,
            };
            let ports = ports::listed(&container.ports.unwrap_or_default());
            list.extend(attempt_of(&labels).map(|attempt| Container { attempt, status, ports }));
        }
        *self.tenants.lock().unwrap_or_else(PoisonError::into_inner) = tenants;
        Ok(list)
    }

    async fn ensure_image(&self, image: &ImageName, tokens: &dyn PullTokens) -> Result<(), HostError> {
        let reference = self.reference(image);
        if self.is_there(&reference).await? {
            return Ok(());
        }
        let Images::Registry { address } = &self.config.images else {
            return Err(HostError::NoImage(reference));
        };
        let turn = self.pull_turn(image);
        let _turn = turn.lock().await;
        if self.is_there(&reference).await? {
            return Ok(());
        }
        let token = tokens
            .token(&image.repository)
            .await
            .map_err(|it| HostError::Refused(format!("no token for the registry: {}", it.sentence())))?;
        self.pull(address, image, token).await
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<Vec<PublishedPort>, StartError> {
        let name = self.name(spec.attempt);
        // Held until the container is in the network, which therefore can't be removed as unused.
        let network = self.networks.of(spec.tenant).await?;
        let body = body::create(&self.config, spec, self.reference(&spec.image), network.id());
        let started = match self.create(&name, body).await {
            Ok(()) => self.run(&name).await,
            Err(error) => Err(error.into()),
        };
        if let Err(StartError { error: HostError::Refused(reason), may_have_run: false }) = &started {
            let _removed = self.remove_now(&name).await;
            if reason.contains("network") {
                // Somebody may have removed it.
                drop(network);
                self.networks.forget(spec.tenant).await;
            }
        }
        started?;
        if spec.ports.is_empty() {
            return Ok(Vec::new());
        }
        // It runs; the next list has what can't be read now.
        let settings = self.read_container(&name).await.ok().flatten().and_then(|it| it.network_settings);
        Ok(settings.and_then(|it| it.ports).map(|it| ports::inspected(&it)).unwrap_or_default())
    }

    async fn inspect(&self, attempt: Attempt) -> Result<Inspection, HostError> {
        let name = self.name(attempt);
        let Some(state) = self.read_container(&name).await?.map(|it| it.state.unwrap_or_default()) else {
            return Ok(ContainerStatus::Gone.into());
        };
        Ok(match state.status {
            Some(Now::CREATED) => ContainerStatus::Created.into(),
            Some(Now::EXITED | Now::DEAD | Now::REMOVING) => {
                let state = self.with_reason(&name, state).await?;
                Inspection::ended(self.exit(&name, &state).await)
            }
            _ => ContainerStatus::Running.into(),
        })
    }

    async fn remove_unstarted(&self, attempt: Attempt) -> Result<bool, HostError> {
        let name = self.name(attempt);
        let state = self.read_container(&name).await?.and_then(|it| it.state);
        if state.and_then(|it| it.status) != Some(Now::CREATED) {
            return Ok(false);
        }
        // Without force: one that was started meanwhile is refused.
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        match self.docker.remove_container(&name, Some(options)).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(false),
            Err(error) => Err(host_error(&error)),
        }
    }

    async fn remove(&self, attempt: Attempt, grace: Duration) -> Result<(), HostError> {
        let name = self.name(attempt);
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        match self.docker.stop_container(&name, Some(options)).await {
            Ok(()) => {}
            Err(error) if status_of(&error) == Some(404) => return Ok(()),
            Err(error) => match host_error(&error) {
                unreachable @ HostError::Unreachable(_) => return Err(unreachable),
                // Ended or never started, or it can't be stopped: force is next.
                HostError::Refused(_) | HostError::NoImage(_) => {}
            },
        }
        self.remove_now(&name).await
    }

    async fn prune(&self) -> Result<(), HostError> {
        let used = self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.networks.prune(&used).await
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<HostEvent, HostError>>, HostError> {
        let mut filters = self.ours();
        filters.insert("type".into(), vec!["container".into()]);
        filters.insert("event".into(), ["start", "oom", "die", "destroy"].map(String::from).into());
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let events = self.docker.events(Some(options)).map_err(|it| host_error(&it));
        let ours = events.try_filter_map(|event| async move {
            let status = match event.action.as_deref() {
                Some("start") => ContainerStatus::Running,
                Some("oom" | "die") => ContainerStatus::Ended,
                Some("destroy") => ContainerStatus::Gone,
                _ => return Ok(None),
            };
            let labels = event.actor.and_then(|it| it.attributes).unwrap_or_default();
            Ok(attempt_of(&labels).map(|attempt| HostEvent { attempt, status }))
        });
        Ok(ours.boxed())
    }
}

/// Which attempt the container with these labels is.
fn attempt_of(labels: &HashMap<String, String>) -> Option<Attempt> {
    let runtime: RuntimeId = labels.get(RUNTIME)?.parse().ok()?;
    let epoch: u32 = labels.get(EPOCH)?.parse().ok()?;
    Some(Attempt { runtime, epoch })
}

fn status_of(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn create_error(error: &Error) -> HostError {
    match (status_of(error), host_error(error)) {
        (Some(404), HostError::Refused(reason)) if reason.contains("image") => HostError::NoImage(reason),
        (_, other) => other,
    }
}

fn host_error(error: &Error) -> HostError {
    match error {
        Error::DockerResponseServerError { message, .. } => HostError::Refused(message.clone()),
        Error::DockerStreamError { error } => HostError::Refused(error.clone()),
        Error::JsonDataError { message, .. } => {
            HostError::Refused(format!("the daemon's answer isn't understood: {message}"))
        }
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            HostError::Unreachable(text)
        }
    }
}
