#![doc = include_str!("../README.md")]

mod config;
pub mod host;
mod meters;
mod pg;
pub mod problems;
pub mod rules;
pub mod scheduler;
mod schema;
mod service;
mod shared;
mod store;
mod worker;

pub use config::{Host, HostConfig, HostState, RuntimesConfig};
pub use host::{
    ContainerHost, HostConnector, PullTokens,
    docker::{DockerConfig, DockerConnector, DockerHost, Images},
    fake::{FakeHost, FakeHosts},
};
pub use pg::{PgRuntimes, RuntimesParts};
pub use scheduler::Strategy;
pub use service::*;
pub use worker::{ExistingDeployments, Reconcile, SweepFailures};

omgservers_core::schema!("runtimes", "../../migrations/runtimes");
