//! Counts open connections.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::dev::Extensions;
use tokio::sync::Notify;

/// How many connections are open. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: AtomicUsize,
    closed: Notify,
}

/// Lives as long as its connection.
struct Guard(Arc<Inner>);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}

impl Connections {
    pub(super) fn counter(&self) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static {
        let inner = Arc::clone(&self.0);
        move |_connection, data| {
            inner.open.fetch_add(1, Ordering::AcqRel);
            data.insert(Guard(Arc::clone(&inner)));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// Waits until none is open.
    pub(super) async fn none(&self) {
        loop {
            let closed = self.0.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }
}
