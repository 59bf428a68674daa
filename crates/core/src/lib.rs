#![doc = include_str!("../README.md")]

pub mod backoff;
pub mod batch;
pub mod caller;
pub mod clock;
pub mod context;
pub mod db;
pub mod mint;
pub mod ownership;
pub mod queue;
pub mod remote;
mod schema;
pub mod shards;
pub mod sweep;
pub mod worker;
pub mod worker_registry;

pub use backoff::Backoff;
pub use batch::Batcher;
pub use caller::Caller;
pub use clock::{Clock, ManualClock, SystemClock, Ticks};
pub use context::{Context, RequestId, TraceParent};
pub use db::{Conn, Db, FencedTx, PoolState, Schema};
pub use mint::Mint;
pub use ownership::{Ownership, Tenure, TenureState};
pub use queue::{Backlog, WorkQueue};
pub use shards::{ShardId, Shards};
pub use sweep::{Existence, Existences, existences, existences_or_unknown, existing, sweep, sweep_each};
pub use worker::{Doorbell, Outcome, Worker};
pub use worker_registry::{WorkerRegistry, WorkerStatus};

crate::schema!("core", "../../migrations/core");
