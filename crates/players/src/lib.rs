#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{PgPlayers, PlayersParts};
pub use rules::MOST_PROFILE_BYTES;
pub use service::{Admission, Players};
pub use worker::SweepOrphans;

omgservers_core::schema!("players", "../../migrations/players");
