//! Member of a room as the other members see it: its queue and its end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use omgservers_ws::{EncodedFrame, FrameKind};
use tokio::sync::Notify;

use crate::{
    Assignment, Closing,
    bounds::QueueLimit,
    queue::{FrameQueue, Pushed, QueueItem},
    quota::{ClientQuota, Permit, notify_all},
};

/// Connection as the other members see it.
pub(crate) struct Peer {
    state: Mutex<State>,
    limit: QueueLimit,
    /// `None` for a runtime.
    pub(crate) assignment: Option<Box<dyn Assignment>>,
    ended: AtomicBool,
    end: Notify,
}

#[derive(Default)]
struct State {
    queue: FrameQueue<QueuedFrame>,
    ping: bool,
    /// Answer to the newest ping; older pings need none.
    pong: Option<Bytes>,
    closing: Option<Closing>,
    /// The transport has the close frame.
    close_sent: bool,
    /// The transport reads no more, so it has nothing to wait for.
    done: bool,
    writer: Option<Waker>,
    /// Clients whose text is blocked by the full queue.
    blocked: Vec<Arc<ClientQuota>>,
}

/// Frame in a queue.
pub(crate) struct QueuedFrame {
    frame: EncodedFrame,
    /// Type of the sender's frame. An envelope is text with any content.
    kind: FrameKind,
    _permit: Option<Permit>,
}

impl QueuedFrame {
    /// Wraps a frame of a runtime.
    pub(crate) fn new(frame: EncodedFrame) -> Self {
        Self { kind: frame.kind(), frame, _permit: None }
    }

    /// Wraps a frame of a player.
    pub(crate) fn with_permit(frame: EncodedFrame, kind: FrameKind, permit: Permit) -> Self {
        Self { frame, kind, _permit: Some(permit) }
    }
}

impl QueueItem for QueuedFrame {
    fn kind(&self) -> FrameKind {
        self.kind
    }
    fn size(&self) -> usize {
        self.frame.bytes().len()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(limit: QueueLimit, assignment: Option<Box<dyn Assignment>>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            limit,
            assignment,
            ended: AtomicBool::new(false),
            end: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether frames may go to and from it.
    pub(crate) fn is_here(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && self.assignment.as_ref().is_none_or(|it| it.holds())
    }

    /// Queues a frame. Never blocks. Returns the frame when the connection has ended.
    pub(crate) fn push(&self, frame: QueuedFrame) -> Result<Pushed, QueuedFrame> {
        let mut state = self.lock();
        if state.closing.is_some() || state.done {
            return Err(frame);
        }
        let pushed = state.queue.push(frame, self.limit);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(pushed)
    }

    /// Notifies a blocked client once half of the queue is free or the connection has ended.
    pub(crate) fn notify_later(&self, quota: &Arc<ClientQuota>) {
        let mut state = self.lock();
        if state.closing.is_some() || state.done || state.queue.is_half_free(self.limit) {
            drop(state);
            quota.notify();
        } else if quota.mark_blocked() {
            state.blocked.push(Arc::clone(quota));
        }
    }

    /// Ends the connection and drops its queue; `false` when it has ended before.
    pub(crate) fn close(&self, closing: Closing) -> bool {
        let mut state = self.lock();
        if state.closing.is_some() || state.done {
            return false;
        }
        state.closing = Some(closing);
        let waiting = std::mem::take(&mut state.queue);
        let (writer, blocked) = (state.writer.take(), std::mem::take(&mut state.blocked));
        drop(state);
        drop(waiting);
        self.ended.store(true, Ordering::Release);
        self.end.notify_one();
        wake(writer);
        notify_all(blocked);
        true
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until the connection has ended. For one waiter.
    pub(crate) async fn ended(&self) {
        while !self.is_ended() {
            self.end.notified().await;
        }
    }

    pub(crate) fn ping(&self) {
        self.change(|it| it.ping = true);
    }

    pub(crate) fn pong(&self, payload: &[u8]) {
        let pong = omgservers_ws::pong(payload);
        self.change(|it| it.pong = Some(pong));
    }

    /// Marks that the transport reads no more.
    pub(crate) fn done(&self) {
        self.ended.store(true, Ordering::Release);
        let mut rest = (FrameQueue::default(), Vec::new());
        self.change(|state| {
            state.done = true;
            rest = (std::mem::take(&mut state.queue), std::mem::take(&mut state.blocked));
        });
        notify_all(rest.1);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// Returns what the transport writes next and whether it is a message; `None` when the
    /// transport may close. For one writer.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(Bytes, bool)>> {
        let mut state = self.lock();
        if let Some(closing) = state.closing.filter(|_| !state.close_sent) {
            state.close_sent = true;
            return Poll::Ready(Some((
                omgservers_ws::close(Some((closing.code(), closing.reason()))),
                false,
            )));
        }
        if state.done {
            return Poll::Ready(None);
        }
        if state.closing.is_none() {
            if let Some(pong) = state.pong.take() {
                return Poll::Ready(Some((pong, false)));
            }
            if std::mem::take(&mut state.ping) {
                return Poll::Ready(Some((omgservers_ws::ping(), false)));
            }
            if let Some(queued) = state.queue.pop() {
                let is_half_free = !state.blocked.is_empty() && state.queue.is_half_free(self.limit);
                let blocked = if is_half_free { std::mem::take(&mut state.blocked) } else { Vec::new() };
                drop(state);
                notify_all(blocked);
                return Poll::Ready(Some((queued.frame.bytes().clone(), true)));
            }
        }
        if state.writer.as_ref().is_none_or(|it| !it.will_wake(cx.waker())) {
            state.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}
