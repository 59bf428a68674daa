#![doc = include_str!("../README.md")]

mod app;
mod args;
mod bench;
mod cli;
mod commands;
mod demo;
mod output;
mod store;
mod values;

pub use app::{report, run};
pub use cli::Cli;
pub use demo::{Demo, demonstrate};
