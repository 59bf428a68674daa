//! The duties of this crate.

mod host_tasks;
mod host_view;
mod ports;
mod reconcile;
mod record;
mod results;
mod steps;
mod sweep;
pub(crate) mod watch;

pub use reconcile::Reconcile;
pub use sweep::{ExistingDeployments, SweepFailures};
