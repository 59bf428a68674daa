//! The duties of this crate.

mod ops;
mod ports;
mod reconcile;
mod record;
mod seat;
mod settle;
mod steps;
mod sweep;
pub(crate) mod watch;

pub use reconcile::Reconcile;
pub use sweep::SweepFailures;
