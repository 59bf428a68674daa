#![doc = include_str!("../README.md")]

mod bench;
mod crowd;
mod latency;
mod net;
mod number;
mod order;
mod pacer;
mod recorder;
pub mod report;
mod scenarios;
mod schedule;
mod search;
mod wire;

pub use bench::run;
pub use latency::{Latencies, Point, Summary};
pub use order::{Order, Scenario, StageRefs};
pub use report::Report;
pub use schedule::{Arrivals, Schedule};
pub use search::RateSearch;
