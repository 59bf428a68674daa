//! Counts open connections.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::dev::Extensions;
use metrics::Gauge;
use tokio::sync::Notify;

/// Milliseconds after which a peer that takes nothing of what is sent is gone.
const TAKES_NOTHING: u32 = 60_000;

/// How many connections are open. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections(Arc<Inner>);

struct Inner {
    gauge: Gauge,
    open: AtomicUsize,
    closed: Notify,
}

/// Lives as long as its connection.
struct ConnectionGuard(Arc<Inner>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.gauge.decrement(1.0);
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        let (open, closed) = (AtomicUsize::default(), Notify::default());
        Self(Arc::new(Inner { gauge: super::meters::connections(), open, closed }))
    }
}

impl Connections {
    pub(super) fn counter(&self) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static {
        let inner = Arc::clone(&self.0);
        move |connection, data| {
            if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
                // Without it a peer that takes nothing keeps its buffers for ever. It may fail only
                // where the system doesn't know it.
                let _unknown = rustix::net::sockopt::set_tcp_user_timeout(stream, TAKES_NOTHING);
            }
            inner.open.fetch_add(1, Ordering::AcqRel);
            inner.gauge.increment(1.0);
            data.insert(ConnectionGuard(Arc::clone(&inner)));
            omgservers_http::remember_token(data);
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
