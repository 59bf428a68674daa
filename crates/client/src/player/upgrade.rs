//! The player's connection through the dispatcher.

use std::{future::pending, time::Duration};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use omgservers_api::{Problem, interchange::ConnectionUpgrade};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Event;
use crate::{
    dispatcher::{CLOSED, Frame, connect, pieces, receive, refused},
    http::Client,
    problems::{CONGESTED, NOT_CONNECTED},
    retry::Retry,
    socket::{SocketRefusal, UpgradedSocket, broken, halves},
};

/// Most frames that wait in one direction. Who doesn't read slows the other side down.
const MOST_FRAMES: usize = 256;
/// The token of an upgrade is good for a minute: who can't reach the dispatcher tries again for so
/// long.
const RETRY: Retry = Retry {
    initial_backoff: Duration::from_millis(200),
    max_backoff: Duration::from_secs(2),
    give_up_after: Some(Duration::from_secs(30)),
};

/// A connection through the dispatcher, or none.
#[derive(Debug, Default)]
pub(super) struct UpgradedConnection(Option<OpenUpgrade>);

#[derive(Debug)]
struct OpenUpgrade {
    task: JoinHandle<()>,
    outgoing: mpsc::Sender<Vec<Message>>,
    events: mpsc::Receiver<Event>,
}

impl Drop for OpenUpgrade {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl UpgradedConnection {
    /// Opens the connection that a runtime invites to; one that was open ends.
    pub(super) fn open(&mut self, client: &Client, upgrade: &ConnectionUpgrade) {
        let (outgoing, frames) = mpsc::channel(MOST_FRAMES);
        let (sender, events) = mpsc::channel(MOST_FRAMES);
        let visit = visit(client.clone(), upgrade.web_socket_config.ws_token.clone(), frames, sender);
        self.0 = Some(OpenUpgrade { task: tokio::spawn(visit), outgoing, events });
    }

    /// Ends the connection.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }

    pub(super) fn send(&self, frame: Frame) -> Result<(), Problem> {
        let open = self.0.as_ref().ok_or(NOT_CONNECTED)?;
        open.outgoing.try_send(pieces(frame)?).map_err(|error| match error {
            TrySendError::Full(_) => CONGESTED.into(),
            TrySendError::Closed(_) => NOT_CONNECTED.into(),
        })
    }

    /// What happens next; nothing as long as there is no connection.
    pub(super) async fn next(&mut self) -> Event {
        if let Some(open) = &mut self.0
            && let Some(event) = open.events.recv().await
        {
            return event;
        }
        // The task has told its end and is gone.
        self.0 = None;
        pending().await
    }
}

/// A connection from its opening to its end, which it tells.
async fn visit(
    client: Client,
    token: String,
    frames: mpsc::Receiver<Vec<Message>>,
    events: mpsc::Sender<Event>,
) {
    let reason = match enter(&client, &token).await {
        Ok(socket) => {
            if events.send(Event::DispatcherConnected).await.is_err() {
                return;
            }
            let (sink, messages) = socket.split();
            let on_error = |error| broken(Some(error)).sentence().to_owned();
            halves(read(messages, &events), write(sink, frames), on_error).await
        }
        Err(refusal) => refused(refusal),
    };
    // The session may be gone.
    let _gone = events.send(Event::DispatcherDisconnected { reason }).await;
}

/// A token is used up by a connection, not by an attempt that reached nobody.
async fn enter(client: &Client, token: &str) -> Result<UpgradedSocket, SocketRefusal> {
    let mut attempts = RETRY.start();
    loop {
        match connect(client, token).await {
            Err(SocketRefusal::Unreachable(problem)) => {
                attempts.pause(problem).await.map_err(SocketRefusal::Unreachable)?;
            }
            entered => return entered,
        }
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut frames: mpsc::Receiver<Vec<Message>>,
) -> Error {
    while let Some(frame) = frames.recv().await {
        for piece in frame {
            if let Err(error) = sink.send(piece).await {
                return error;
            }
        }
    }
    Error::ConnectionClosed
}

/// Reads until the end, whose reason it answers.
async fn read(
    mut messages: impl Stream<Item = Result<Message, Error>> + Unpin,
    events: &mpsc::Sender<Event>,
) -> String {
    loop {
        let frame = match receive(&mut messages).await {
            Ok(frame) => frame,
            Err(reason) => return reason,
        };
        if events.send(Event::Frame(frame)).await.is_err() {
            return CLOSED.to_owned();
        }
    }
}
