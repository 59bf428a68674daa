//! One end of a room: what waits for it, and how it ends.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    Assignment, Closing,
    bounds::Room,
    queue::{Pushed, Queue, Waiting},
    room::wake as wake_all,
    way::{Share, Way},
    wire::{self, Frame, Kind},
};

/// A connection as others see it.
pub(crate) struct Peer {
    state: Mutex<State>,
    room: Room,
    /// `None` for a runtime.
    pub(crate) assignment: Option<Box<dyn Assignment>>,
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
    /// Clients whose text found no room here.
    blocked: Vec<Arc<Way>>,
}

/// A frame that waits.
pub(crate) struct Held {
    frame: Frame,
    /// What it was for its sender: an envelope is text whatever is in it.
    kind: Kind,
    _share: Option<Share>,
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

    /// Lets a frame wait for it. Never blocks. One that has ended gives the frame back.
    pub(crate) fn push(&self, held: Held) -> Result<Pushed, Held> {
        let mut state = self.lock();
        if state.closing.is_some() || state.done {
            return Err(held);
        }
        let pushed = state.queue.push(held, self.room);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(pushed)
    }

    /// Wakes a client whose text found no room, when there is room again or it has ended.
    pub(crate) fn wake_later(&self, way: &Arc<Way>) {
        let mut state = self.lock();
        if state.closing.is_some() || state.done || state.queue.is_roomy(self.room) {
            drop(state);
            way.wake();
        } else if way.list() {
            state.blocked.push(Arc::clone(way));
        }
    }

    /// Ends it: what waits is dropped. `false` when that was done before.
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
        wake_all(blocked);
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
        let mut left = (Queue::default(), Vec::new());
        self.steer(|it| {
            it.done = true;
            left = (std::mem::take(&mut it.queue), std::mem::take(&mut it.blocked));
        });
        wake_all(left.1);
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
                let is_roomy = !state.blocked.is_empty() && state.queue.is_roomy(self.room);
                let blocked = if is_roomy { std::mem::take(&mut state.blocked) } else { Vec::new() };
                drop(state);
                wake_all(blocked);
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
