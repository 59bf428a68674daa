//! Whether the server is about to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Turned on once, when the server begins to stop. Cheap to clone.
#[derive(Clone, Default)]
pub struct Drain {
    token: CancellationToken,
    end: CancellationToken,
    /// The same for the hot path: one load.
    on: Arc<AtomicBool>,
}

impl Drain {
    /// From this on answers close their connections, and what holds an answer back gives it.
    pub fn begin(&self) {
        self.on.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Ends what would stay open for ever.
    pub fn finish(&self) {
        self.end.cancel();
    }

    /// Fires when it ends.
    pub fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// Whether it has begun.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Fires when it begins.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}
