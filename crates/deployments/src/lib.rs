#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{DeploymentsParts, PgDeployments};
pub use service::{DeploymentFull, Deployments};
pub use worker::SweepOrphans;

omgservers_core::schema!("deployments", "../../migrations/deployments");
