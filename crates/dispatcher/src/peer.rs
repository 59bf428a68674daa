//! One end of a room: what waits for it, and how it ends.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    Assignment, Closing,
    bounds::Room,
    queue::{Pushed, Queue, Waiting},
    wire::{self, Frame, Kind},
};

/// A connection as others see it.
pub(crate) struct Peer {
    state: Mutex<State>,
    room: Room,
    /// `None` for a runtime.
    pub(crate) assignment: Option<Box<dyn Assignment>>,
    /// Its frames that wait for the runtime.
    share: Arc<AtomicUsize>,
    ended: AtomicBool,
    end: Notify,
}

#[derive(Default)]
struct State {
    queue: Queue<Held>,
    ping: bool,
    /// The newest one that isn't answered; older ones need no answer.
    pong: Option<Bytes>,
    closing: Option<Closing>,
    /// The close frame was taken.
    said: bool,
    /// The transport reads no more, so nothing has to be waited for.
    done: bool,
    writer: Option<Waker>,
}

/// A frame that waits.
pub(crate) struct Held {
    frame: Frame,
    /// What it was for its sender: an envelope is text whatever is in it.
    kind: Kind,
    _share: Option<Share>,
}

/// A part of a player's share, given back when the frame is sent or dropped.
pub(crate) struct Share(Arc<AtomicUsize>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    /// From a runtime.
    pub(crate) fn new(frame: Frame) -> Self {
        Self { kind: frame.kind(), frame, _share: None }
    }

    /// From a player.
    pub(crate) fn shared(frame: Frame, kind: Kind, share: Share) -> Self {
        Self { frame, kind, _share: Some(share) }
    }
}

impl Waiting for Held {
    fn kind(&self) -> Kind {
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
    pub(crate) fn new(room: Room, assignment: Option<Box<dyn Assignment>>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            room,
            assignment,
            share: Arc::default(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether frames may go from and to it.
    pub(crate) fn is_here(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && self.assignment.as_ref().is_none_or(|it| it.holds())
    }

    /// A part of its share; `None` when all of it waits for the runtime.
    pub(crate) fn share(&self, most: usize) -> Option<Share> {
        if self.share.fetch_add(1, Ordering::Relaxed) < most {
            return Some(Share(Arc::clone(&self.share)));
        }
        self.share.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Lets a frame wait for it. Never blocks.
    pub(crate) fn push(&self, held: Held) -> Pushed {
        let mut state = self.lock();
        if state.closing.is_some() || state.done {
            return Pushed::Dropped(0);
        }
        let pushed = state.queue.push(held, self.room);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        pushed
    }

    /// Ends it: what waits is dropped. `false` when that was done before.
    pub(crate) fn close(&self, closing: Closing) -> bool {
        let mut state = self.lock();
        if state.closing.is_some() || state.done {
            return false;
        }
        state.closing = Some(closing);
        let waiting = std::mem::take(&mut state.queue);
        let writer = state.writer.take();
        drop(state);
        drop(waiting);
        self.ended.store(true, Ordering::Release);
        self.end.notify_one();
        wake(writer);
        true
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until somebody ends it. For one waiter.
    pub(crate) async fn ended(&self) {
        while !self.is_ended() {
            self.end.notified().await;
        }
    }

    pub(crate) fn ping(&self) {
        self.steer(|it| it.ping = true);
    }

    pub(crate) fn pong(&self, payload: &[u8]) {
        let pong = wire::pong(payload);
        self.steer(|it| it.pong = Some(pong));
    }

    /// The transport reads no more.
    pub(crate) fn done(&self) {
        self.ended.store(true, Ordering::Release);
        self.steer(|it| {
            it.done = true;
            it.queue = Queue::default();
        });
    }

    fn steer(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }

    /// What the transport writes next, frames with their heads; `None` when it may close. For one writer. Says whether
    /// it was a message.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(Bytes, bool)>> {
        let mut state = self.lock();
        if let Some(closing) = state.closing.filter(|_| !state.said) {
            state.said = true;
            return Poll::Ready(Some((wire::close(closing), false)));
        }
        if state.done {
            return Poll::Ready(None);
        }
        if state.closing.is_none() {
            if let Some(pong) = state.pong.take() {
                return Poll::Ready(Some((pong, false)));
            }
            if std::mem::take(&mut state.ping) {
                return Poll::Ready(Some((wire::ping(), false)));
            }
            if let Some(held) = state.queue.pop() {
                return Poll::Ready(Some((held.frame.bytes().clone(), true)));
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
