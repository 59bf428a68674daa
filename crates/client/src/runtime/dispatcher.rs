//! The runtime's side of the dispatcher.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use omgservers_api::{ClientId, Problem, RuntimeId, dispatcher::InboundFrame, problem::UNAVAILABLE};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::Instant,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::create_token;
use crate::{
    dispatcher::{CLOSED, Frame, connect, inbound, outbound, pieces, receive, refused},
    http::Client,
    problems::{CONGESTED, NOT_CONNECTED, VALUE},
    retry::{Attempts, Retry},
    socket::{UpgradedSocket, broken, halves},
};

/// Most frames that wait in one direction.
const MOST_FRAMES: usize = 4_096;
/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// A runtime's room: it hears the clients that are in it, and speaks to them, past the mailboxes
/// and once at most.
///
/// A connection that breaks is opened again with growing pauses, with a fresh token each time. It
/// ends when this is dropped.
pub struct DispatcherConnection {
    task: JoinHandle<()>,
    open: Arc<AtomicBool>,
    outgoing: mpsc::Sender<Vec<Message>>,
    events: mpsc::Receiver<Result<DispatcherEvent, Problem>>,
}

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DispatcherEvent {
    /// It is open.
    Opened,
    /// A client says this.
    Frame {
        /// The session.
        client_id: ClientId,
        /// What it says.
        frame: Frame,
    },
    /// The connection has ended, or couldn't be opened; it is tried again.
    Lost {
        /// Why, for people.
        reason: String,
    },
}

impl DispatcherConnection {
    pub(super) fn open(client: Client, id: RuntimeId, password: &str, retry: Retry) -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let (outgoing, frames) = mpsc::channel(MOST_FRAMES);
        let (sender, events) = mpsc::channel(MOST_FRAMES);
        let host = Reconnector {
            client,
            id,
            password: password.to_owned(),
            retry,
            open: Arc::clone(&open),
            events: sender,
        };
        Self { task: tokio::spawn(host.serve(frames)), open, outgoing, events }
    }

    /// The next event. It may be dropped at any time, and nothing is lost. Problems are final: the
    /// runtime is stopped or its credentials are refused.
    pub async fn next(&mut self) -> Result<DispatcherEvent, Problem> {
        self.events.recv().await.unwrap_or_else(|| Err(NOT_CONNECTED.detail("the room was left for good")))
    }

    /// Sends a text or bytes to one client. Problems: `client.not_connected`, `client.congested`,
    /// `client.value` for a message that is too large.
    pub fn send_unreliable(&self, client_id: ClientId, frame: impl Into<Frame>) -> Result<(), Problem> {
        self.enqueue(Some(&[client_id]), frame.into())
    }

    /// Sends a text or bytes to some clients; those that aren't in the room miss it.
    pub fn multicast_unreliable(
        &self,
        clients: impl IntoIterator<Item = ClientId>,
        frame: impl Into<Frame>,
    ) -> Result<(), Problem> {
        let clients: Vec<ClientId> = clients.into_iter().collect();
        self.enqueue(Some(&clients), frame.into())
    }

    /// Sends a text or bytes to everybody in the room.
    pub fn broadcast_unreliable(&self, frame: impl Into<Frame>) -> Result<(), Problem> {
        self.enqueue(None, frame.into())
    }

    fn enqueue(&self, clients: Option<&[ClientId]>, frame: Frame) -> Result<(), Problem> {
        let envelope = serde_json::to_string(&outbound(clients, frame))
            .map_err(|error| VALUE.detail(error.to_string()))?;
        let pieces = pieces(Frame::Text(envelope))?;
        if !self.open.load(Ordering::Acquire) {
            return Err(NOT_CONNECTED.into());
        }
        self.outgoing.try_send(pieces).map_err(|error| match error {
            TrySendError::Full(_) => CONGESTED.into(),
            TrySendError::Closed(_) => NOT_CONNECTED.into(),
        })
    }
}

impl Drop for DispatcherConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for DispatcherConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherConnection").field("open", &self.open).finish_non_exhaustive()
    }
}

/// Keeps a room open.
struct Reconnector {
    client: Client,
    id: RuntimeId,
    password: String,
    retry: Retry,
    open: Arc<AtomicBool>,
    events: mpsc::Sender<Result<DispatcherEvent, Problem>>,
}

/// Why there is no room.
enum ConnectFailure {
    /// It may work later.
    Lost(Problem),
    /// It won't.
    Final(Problem),
}

impl Reconnector {
    async fn serve(self, mut frames: mpsc::Receiver<Vec<Message>>) {
        let mut attempts = self.retry.start();
        let mut reported = false;
        loop {
            let ended = match self.enter().await {
                Ok(socket) => {
                    // What was meant for another time goes nowhere.
                    while frames.try_recv().is_ok() {}
                    self.open.store(true, Ordering::Release);
                    let begun = Instant::now();
                    let reason = self.visit(socket, &mut frames).await;
                    self.open.store(false, Ordering::Release);
                    if begun.elapsed() >= GOOD {
                        attempts = self.retry.start();
                    }
                    reported = false;
                    ConnectFailure::Lost(UNAVAILABLE.detail(reason))
                }
                Err(failure) => failure,
            };
            if self.fail(ended, &mut attempts, &mut reported).await.is_none() {
                return;
            }
        }
    }

    /// Tells of a failure and pauses; `None` when it is the last one.
    async fn fail(
        &self,
        failure: ConnectFailure,
        attempts: &mut Attempts,
        reported: &mut bool,
    ) -> Option<()> {
        let problem = match failure {
            ConnectFailure::Lost(problem) => problem,
            ConnectFailure::Final(problem) => {
                let _gone = self.events.send(Err(problem)).await;
                return None;
            }
        };
        // Many failures in a row are one.
        if !std::mem::replace(reported, true) {
            let reason = problem.sentence().to_owned();
            self.events.send(Ok(DispatcherEvent::Lost { reason })).await.ok()?;
        }
        if let Err(problem) = attempts.pause(problem).await {
            let _gone = self.events.send(Err(problem)).await;
            return None;
        }
        Some(())
    }

    /// Each connection has a token of its own: it is good for one.
    async fn enter(&self) -> Result<UpgradedSocket, ConnectFailure> {
        let tokens = create_token(&self.client, self.id, &self.password).await.map_err(|problem| {
            if crate::http::transient(&problem) {
                ConnectFailure::Lost(problem)
            } else {
                ConnectFailure::Final(problem)
            }
        })?;
        let refusal = match connect(&self.client, &tokens.ws_token).await {
            Ok(socket) => return Ok(socket),
            Err(refusal) => refusal,
        };
        Err(ConnectFailure::Lost(UNAVAILABLE.detail(refused(refusal))))
    }

    /// One connection, to its end, whose reason it answers.
    async fn visit(&self, socket: UpgradedSocket, frames: &mut mpsc::Receiver<Vec<Message>>) -> String {
        if self.events.send(Ok(DispatcherEvent::Opened)).await.is_err() {
            return CLOSED.to_owned();
        }
        let (sink, messages) = socket.split();
        let on_error = |error| broken(Some(error)).sentence().to_owned();
        halves(self.read(messages), write(sink, frames), on_error).await
    }

    async fn read(&self, mut messages: impl Stream<Item = Result<Message, Error>> + Unpin) -> String {
        loop {
            let text = match receive(&mut messages).await {
                Ok(Frame::Text(text)) => text,
                Ok(Frame::Binary(_)) => continue,
                Err(reason) => return reason,
            };
            // What a later dispatcher says in another way is passed over.
            let Ok(envelope) = serde_json::from_str::<InboundFrame<'_>>(&text) else { continue };
            let client_id = envelope.client_id;
            let Some(frame) = inbound(envelope) else { continue };
            if self.events.send(Ok(DispatcherEvent::Frame { client_id, frame })).await.is_err() {
                return CLOSED.to_owned();
            }
        }
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    frames: &mut mpsc::Receiver<Vec<Message>>,
) -> Error {
    while let Some(pieces) = frames.recv().await {
        for piece in pieces {
            if let Err(error) = sink.send(piece).await {
                return error;
            }
        }
    }
    Error::ConnectionClosed
}
