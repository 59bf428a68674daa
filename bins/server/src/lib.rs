//! The program `omgservers` as a library.
//!
//! [`Server::start`] is the map of the system. Everything else here is what a process needs around
//! it: configuration, the data directory, PostgreSQL, the HTTP listener, systemd, the log.

pub mod addresses;
pub mod bootstrap;
pub mod config;
pub mod data_dir;
pub mod database;
mod gauges;
pub mod http;
pub mod open_files;
pub mod postgres;
mod server;
mod settings;
pub mod systemd;
pub mod telemetry;
pub mod wiring;
pub mod workers;

pub use config::Config;
pub use server::{Process, Running, Server};
pub use wiring::SCHEMAS;
