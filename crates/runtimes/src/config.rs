//! The configuration of containers and their hosts.

use std::{path::PathBuf, time::Duration};

use omgservers_api::{HostId, PoolId};

use crate::scheduler::Strategy;

/// How runtimes are run.
#[derive(Debug, Clone)]
pub struct RuntimesConfig {
    /// The URL of this backend for runtimes: their `OMGSERVERS_SERVICE_URL`.
    pub service_url: String,
    /// CPU of a runtime without a limit of its own; 100 = one core.
    pub default_cpu: u32,
    /// Memory of a runtime without a limit of its own, MiB.
    pub default_memory: u32,
    /// Which host takes the next runtime.
    pub strategy: Strategy,
    /// How long a container may take to end after SIGTERM.
    pub stop_grace: Duration,
    /// How long making and starting a container may take before it counts as failed.
    pub start_timeout: Duration,
    /// How long pulling an image may take before it counts as failed.
    pub pull_timeout: Duration,
    /// How long a host may be silent before its runtimes count as lost.
    pub lost_after: Duration,
    /// For the simulation: a run of the reconciler lists every host, and waits for each operation
    /// that it began, at most this long. `None` in servers, where no operation delays another one.
    pub inline: Option<Duration>,
}

impl Default for RuntimesConfig {
    fn default() -> Self {
        Self {
            service_url: "http://host.docker.internal:8080".into(),
            default_cpu: 100,
            default_memory: 512,
            strategy: Strategy::Pack,
            stop_grace: Duration::from_secs(3),
            start_timeout: Duration::from_secs(60),
            pull_timeout: Duration::from_secs(600),
            lost_after: Duration::from_secs(30),
            inline: None,
        }
    }
}

/// Whether a host takes new containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It takes new containers.
    Active,
    /// It takes none for the time being; its containers go on.
    Cordoned,
    /// It takes none, and leaves the pool when it is empty.
    Draining,
}

impl HostState {
    /// The word in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }

    /// Reads a word of the database. A host with an unknown word takes no containers.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "draining" => Self::Draining,
            _ => Self::Cordoned,
        }
    }
}

/// A Docker host as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// `unix:///path`, or `tcp://name:port`.
    pub uri: String,
    /// A folder with `ca.pem`, `cert.pem` and `key.pem`, for mutual TLS.
    pub tls: Option<PathBuf>,
    /// CPU for runtimes, 100 = one core: 800 for eight cores.
    pub cpu: u32,
    /// Memory for runtimes, MiB.
    pub memory: u32,
    /// The most containers.
    pub max_containers: u32,
    /// Whether it takes new ones.
    pub state: HostState,
    /// The address for players; without one the name in the URI.
    pub public_address: Option<String>,
}

impl HostConfig {
    /// The Docker daemon of this machine, with all of the machine's `cores` and `memory` (MiB).
    pub fn local(cores: u32, memory: u32) -> Self {
        Self {
            uri: "unix:///var/run/docker.sock".into(),
            tls: None,
            cpu: cores.saturating_mul(100),
            memory,
            max_containers: 1000,
            state: HostState::Active,
            public_address: None,
        }
    }

    /// Returns the address for players.
    pub fn address(&self) -> &str {
        let named = || {
            let authority = self.uri.strip_prefix("tcp://")?;
            let host = authority.rsplit_once(':').map_or(authority, |it| it.0);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            (!host.is_empty()).then_some(host)
        };
        // A socket is of this machine.
        self.public_address.as_deref().or_else(named).unwrap_or("localhost")
    }
}

/// A host of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its pool.
    pub pool: PoolId,
    /// Its id.
    pub id: HostId,
    /// Its description by the operator.
    pub config: HostConfig,
}
