//! What a session shares with its stream and with its senders.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use omgservers_api::{
    ClientId, EntryId, Problem,
    ids::SenderSeq,
    interchange::{ClientOutgoing, Incoming, PlayerInterchangeRequest, PlayerInterchangeResponse, message},
};
use serde::Serialize;
use tokio::sync::Notify;

use super::{Event, lock, raw};
use crate::{flow::Flow, problems::VALUE};

pub(super) struct SessionState {
    pub(super) client_id: ClientId,
    state: Mutex<State>,
    /// There may be something to send. Whoever sends waits for it.
    pub(super) outgoing: Notify,
    /// There may be something for the game. The session waits for it.
    pub(super) incoming: Notify,
}

struct State {
    flow: Flow,
    /// What wasn't handed on, by id.
    inbox: VecDeque<(EntryId, Event)>,
    /// Refusals of messages.
    refusals: VecDeque<Problem>,
}

impl SessionState {
    /// The first message gets the number `first`.
    pub(super) fn new(client_id: ClientId, first: u64) -> Self {
        let state = State { flow: Flow::from(first), inbox: VecDeque::new(), refusals: VecDeque::new() };
        Self { client_id, state: Mutex::new(state), outgoing: Notify::new(), incoming: Notify::new() }
    }

    pub(super) fn send(&self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        let data = raw(message)?;
        let body = raw(&ClientOutgoing { data: &data })?;
        let seq = lock(&self.state).flow.push(message::CLIENT_OUTGOING, body);
        self.outgoing.notify_one();
        Ok(seq)
    }

    /// Whether there are messages that the backend hasn't accepted.
    pub(super) fn has_outgoing(&self) -> bool {
        lock(&self.state).flow.has_outgoing()
    }

    /// Waits until there is a message to send.
    pub(super) async fn unsent(&self) {
        loop {
            self.outgoing.notified().await;
            if self.has_outgoing() {
                return;
            }
        }
    }

    /// Hands the oldest event on.
    pub(super) fn hand(&self) -> Option<Event> {
        let mut state = lock(&self.state);
        let (id, event) = state.inbox.pop_front()?;
        state.flow.handed(id);
        drop(state);
        self.outgoing.notify_one();
        Some(event)
    }

    /// Hands a refusal on.
    pub(super) fn refusal(&self) -> Option<Problem> {
        lock(&self.state).refusals.pop_front()
    }

    /// The body of a request, and how many entries it acknowledges.
    pub(super) fn request(&self, wait: u32) -> Result<(Bytes, usize), Problem> {
        let mut state = lock(&self.state);
        let (outgoing_messages, consumed_messages) = state.flow.request();
        let consumed = consumed_messages.len();
        let request = PlayerInterchangeRequest {
            client_id: self.client_id,
            outgoing_messages,
            consumed_messages,
            wait: (wait > 0).then_some(wait),
        };
        let body = serde_json::to_vec(&request).map_err(|error| VALUE.detail(error.to_string()))?;
        Ok((body.into(), consumed))
    }

    /// The request was answered.
    pub(super) fn settle(&self, consumed: usize, answer: PlayerInterchangeResponse) {
        lock(&self.state).flow.answered(consumed);
        self.arrived(answer.incoming_messages);
    }

    /// The request was refused for good.
    pub(super) fn give_up(&self) {
        lock(&self.state).flow.give_up();
    }

    /// The next frame of a stream.
    pub(super) fn frame(&self) -> Option<String> {
        lock(&self.state).flow.frame()
    }

    /// What is under way begins again.
    pub(super) fn rewind(&self) {
        lock(&self.state).flow.rewind();
        self.outgoing.notify_one();
    }

    /// Messages came.
    pub(super) fn arrived(&self, incoming: Vec<Incoming>) {
        let mut guard = lock(&self.state);
        let State { flow, inbox, .. } = &mut *guard;
        let waits = |id: EntryId| inbox.binary_search_by_key(&id, |it| it.0).is_ok();
        let fresh = flow.arrived(incoming, waits);
        inbox.extend(fresh.into_iter().map(|it| (it.id, Event::read(it))));
        drop(guard);
        self.incoming.notify_one();
        self.outgoing.notify_one();
    }

    /// A frame is safe.
    pub(super) fn accepted(&self, request: SenderSeq) {
        lock(&self.state).flow.concluded(request);
        self.incoming.notify_one();
        // There is room for a further frame.
        self.outgoing.notify_one();
    }

    /// A frame was refused for good; without its number it is the one whose answer was due.
    pub(super) fn refused(&self, request: Option<SenderSeq>, problem: Problem) {
        let mut state = lock(&self.state);
        if let Some(request) = request.or_else(|| state.flow.first_frame()) {
            state.flow.concluded(request);
        }
        state.refusals.push_back(problem);
        drop(state);
        self.incoming.notify_one();
        self.outgoing.notify_one();
    }
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Speaks for a [`Session`](super::Session).
#[derive(Debug, Clone)]
pub struct SessionSender(pub(super) Arc<SessionState>);

impl SessionSender {
    /// Like [`Session::send`](super::Session::send).
    pub fn send(&self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        self.0.send(message)
    }
}
