#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{PgProjects, ProjectsParts};
pub use service::{Projects, StagePath};
pub use worker::{SweepOrphans, SweepPermissions};

omgservers_core::schema!("projects", "../../migrations/projects");
