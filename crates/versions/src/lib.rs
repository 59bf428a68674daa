#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{PgVersions, VersionsParts};
pub use rules::Repository;
pub use service::{PinnedImage, VersionFull, Versions, image_for};
pub use worker::SweepOrphans;

omgservers_core::schema!("versions", "../../migrations/versions");
