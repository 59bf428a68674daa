//! One player stream, from its handshake to its end. A task of its own carries it: pings are
//! answered and messages go out and come in, also while the game does something else.

use std::{sync::Arc, time::Duration};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use omgservers_api::{
    Kind, Problem,
    stream::{PATH, SUB_PROTOCOL, ServerFrame, StreamError},
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::state::SessionState;
use crate::{
    http::{Client, Token, transient},
    problems::FOREIGN_ANSWER,
    socket::{SocketRefusal, UpgradedSocket, broken, halves},
};

/// The backend pings every 15 s; a connection that is silent for so long is dead.
const MAX_IDLE: Duration = Duration::from_secs(45);
/// A stream that lived so long was a good one, though nothing came.
const GOOD: Duration = Duration::from_secs(10);

/// A stream that is being opened, or open; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct PlayerStream {
    task: JoinHandle<StreamEnd>,
    opened: watch::Receiver<bool>,
    ended: Option<StreamEnd>,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// Before it was one.
    Refused(SocketRefusal),
    /// Afterwards.
    Closed {
        /// The code of the close frame, if there was one.
        code: Option<u16>,
        /// Why.
        problem: Problem,
        /// It carried something, or could have.
        good: bool,
    },
}

impl PlayerStream {
    /// Opens a stream in the background: whoever waits for it may stop to do so.
    pub(super) fn open(client: Client, shared: &Arc<SessionState>, token: Token) -> Self {
        let shared = Arc::clone(shared);
        let (opened, receiver) = watch::channel(false);
        let life = async move {
            let path = format!("{PATH}?client_id={}", shared.client_id);
            match client.socket(&path, SUB_PROTOCOL, token.as_str()).await {
                Ok(socket) => {
                    opened.send_replace(true);
                    carry(socket, &shared).await
                }
                Err(refusal) => StreamEnd::Refused(refusal),
            }
        };
        Self { task: tokio::spawn(life), opened: receiver, ended: None }
    }

    /// Waits until it is open or has ended.
    pub(super) async fn opening(&mut self) {
        // It isn't opened any more once its task is gone.
        let gone = self.opened.wait_for(|it| *it).await.is_err();
        if gone {
            self.wait().await;
        }
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) {
        if self.ended.is_none() {
            let lost =
                |error| StreamEnd::Closed { code: None, problem: Problem::internal(error), good: false };
            self.ended = Some((&mut self.task).await.unwrap_or_else(lost));
        }
    }

    /// How it ended, once that is known; only the first call returns it.
    pub(super) fn ended(&mut self) -> Option<StreamEnd> {
        self.ended.take()
    }
}

impl Drop for PlayerStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries messages over the socket. What was under way elsewhere begins again.
async fn carry(socket: UpgradedSocket, shared: &SessionState) -> StreamEnd {
    shared.rewind();
    let begun = Instant::now();
    let (sink, messages) = socket.split();
    let mut reader = FrameReader { shared, carried: false, refusal: None };
    let (code, problem) = {
        let on_error = |error| (None, broken(Some(error)));
        halves(reader.read(messages), write(sink, shared), on_error).await
    };
    let good = reader.carried || begun.elapsed() >= GOOD;
    StreamEnd::Closed { code, problem: reader.refusal.unwrap_or(problem), good }
}

/// Writes what there is to write until that fails.
async fn write(mut sink: impl Sink<Message, Error = Error> + Unpin, shared: &SessionState) -> Error {
    loop {
        let more = shared.outgoing.notified();
        let Some(frame) = shared.frame() else {
            more.await;
            continue;
        };
        if let Err(error) = sink.send(Message::text(frame)).await {
            return error;
        }
    }
}

struct FrameReader<'a> {
    shared: &'a SessionState,
    carried: bool,
    /// Why the backend is about to end it.
    refusal: Option<Problem>,
}

impl FrameReader<'_> {
    /// Reads until the end, which it answers.
    async fn read(
        &mut self,
        mut messages: impl Stream<Item = Result<Message, Error>> + Unpin,
    ) -> (Option<u16>, Problem) {
        loop {
            let message = match tokio::time::timeout(MAX_IDLE, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return (None, broken(Some(error))),
                Ok(None) => return (None, broken(None)),
                Err(_elapsed) => return (None, Problem::unavailable("the stream was silent for too long")),
            };
            match message {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(frame) => self.handle(frame),
                    Err(error) => return (None, FOREIGN_ANSWER.detail(format!("over the stream: {error}"))),
                },
                Message::Close(frame) => {
                    let code = frame.as_ref().map(|it| it.code.into());
                    return (code, broken(None));
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, frame: ServerFrame) {
        self.carried = true;
        let ServerFrame { incoming_messages, request, error, .. } = frame;
        if !incoming_messages.is_empty() {
            self.shared.arrived(incoming_messages);
        }
        match (error, request) {
            (Some(StreamError { status, body }), request) => {
                let problem = Problem::from_wire(status, body);
                // The frame is at fault, and wouldn't do better later.
                let its_own = request.is_some() || problem.kind() == Kind::TooLarge;
                if its_own && !transient(&problem) {
                    self.shared.refused(request, problem);
                } else {
                    self.refusal = Some(problem);
                }
            }
            (None, Some(request)) => self.shared.accepted(request),
            (None, None) => {}
        }
    }
}
