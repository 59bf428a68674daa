//! A player's session in a stage.

use std::{fmt, sync::Arc, time::Duration};

use omgservers_api::{ClientId, Problem, ids::SenderSeq, interchange::MAX_WAIT_MS};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Event, Player, SessionSender,
    connection::{SessionTransport, Transport},
    state::SessionState,
    upgrade::UpgradedConnection,
};
use crate::{dispatcher::Frame, retry::Retry};

/// A player's session in a stage.
///
/// Every future of it may be dropped at any time, e.g. in a `select!`. Nothing is lost: the next
/// call repeats what was under way, and the backend recognises the repetition. Between the calls an
/// open stream goes on, and queued messages go out. Only decisions wait for the next call, which
/// opens a broken stream again.
pub struct Session {
    shared: Arc<SessionState>,
    connection: SessionTransport,
    upgraded: UpgradedConnection,
    over: bool,
}

impl Session {
    pub(super) fn new(player: Player, client_id: ClientId, first: u64) -> Self {
        let shared = Arc::new(SessionState::new(client_id, first));
        let connection = SessionTransport::new(player, Arc::clone(&shared));
        Self { shared, connection, upgraded: UpgradedConnection::default(), over: false }
    }

    /// How exchanges and streams are repeated; [`Retry::PLAYER`] unless it is set.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.connection.retry = retry;
        self
    }

    /// How messages travel; [`Transport::Stream`] unless it is set.
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        self.connection.transport = transport;
        self
    }

    /// Its id.
    pub fn client_id(&self) -> ClientId {
        self.shared.client_id
    }

    /// Whose session it is.
    pub fn player(&self) -> &Player {
        self.connection.player()
    }

    /// Speaks from elsewhere while this session waits in [`next`](Self::next).
    pub fn sender(&self) -> SessionSender {
        SessionSender(Arc::clone(&self.shared))
    }

    /// Queues a message to the runtime; an open stream takes it along at once, or else the next
    /// exchange. A `&RawValue` goes byte for byte. Problems: `client.value`.
    pub fn send(&mut self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        self.shared.send(message)
    }

    /// Sends a text or bytes through the dispatcher, past the mailbox: once at most, and without an
    /// answer. Problems: `client.not_connected` without an [upgrade](Event::ConnectionUpgrade),
    /// `client.congested`.
    pub fn send_unreliable(&mut self, frame: impl Into<Frame>) -> Result<(), Problem> {
        self.upgraded.send(frame.into())
    }

    /// One exchange: sends the queued messages and waits until the backend has acknowledged them.
    /// It acknowledges earlier messages and returns the new ones, in order. Without any it waits up
    /// to `wait` for one. It is repeated as [`Retry`] says. A message that is refused for good
    /// (4xx) is given up. It returns nothing of the dispatcher.
    pub async fn exchange(&mut self, wait: Duration) -> Result<Vec<Event>, Problem> {
        let mut until = None;
        loop {
            if let Some(refusal) = self.shared.refusal() {
                return Err(refusal);
            }
            if !self.connection.streams().await? {
                if !self.connection.over {
                    self.connection.poll(wait).await?;
                }
                return Ok(self.hand_all());
            }
            if self.shared.has_outgoing() {
                self.connection.change().await;
                continue;
            }
            let events = self.hand_all();
            let until = *until.get_or_insert_with(|| Instant::now() + wait);
            if !events.is_empty() {
                return Ok(events);
            }
            if tokio::time::timeout_at(until, self.connection.change()).await.is_err() {
                return Ok(self.hand_all());
            }
        }
    }

    /// The next event; `None` after [`Event::Disconnected`]. Messages that are queued meanwhile go
    /// out at once.
    pub async fn next(&mut self) -> Result<Option<Event>, Problem> {
        loop {
            if let Some(refusal) = self.shared.refusal() {
                return Err(refusal);
            }
            if let Some(event) = self.hand() {
                return Ok(Some(event));
            }
            if self.over || self.connection.over {
                return Ok(None);
            }
            tokio::select! {
                event = self.upgraded.next() => return Ok(Some(event)),
                met = meet(&mut self.connection, &self.shared) => met?,
            }
        }
    }

    /// Hands the oldest event on, and does what follows from it.
    fn hand(&mut self) -> Option<Event> {
        let event = self.shared.hand()?;
        match &event {
            Event::Assigned { .. } => self.upgraded.close(),
            Event::ConnectionUpgrade(upgrade) => {
                self.upgraded.open(&self.connection.player().client, upgrade)
            }
            Event::Disconnected { .. } => {
                self.over = true;
                self.upgraded.close();
                self.connection.close();
            }
            _ => {}
        }
        Some(event)
    }

    fn hand_all(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.hand()).collect()
    }
}

/// Waits until something may have come.
async fn meet(connection: &mut SessionTransport, shared: &SessionState) -> Result<(), Problem> {
    if connection.streams().await? {
        connection.change().await;
        return Ok(());
    }
    if connection.over {
        return Ok(());
    }
    if shared.has_outgoing() {
        return connection.poll(Duration::ZERO).await;
    }
    tokio::select! {
        polled = connection.poll(Duration::from_millis(MAX_WAIT_MS.into())) => polled,
        () = shared.unsent() => Ok(()),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}
