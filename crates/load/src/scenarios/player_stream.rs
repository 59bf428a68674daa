//! A player on a stream: sends messages, hands on what comes, and opens another stream when one
//! ends.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use omgservers_api::stream::{PATH, SUB_PROTOCOL, close};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::{
    crowd::CrowdMember,
    net::{CallFailure, ClientSocket, Target, open},
    wire::{Came, ReceivedMessage, RequestBody},
};

/// The player acknowledges consumed messages with its next message, or after this time.
const LAZY: Duration = Duration::from_millis(50);
/// The pause before another stream.
const PAUSE: Duration = Duration::from_millis(500);

/// Receives what comes over a stream.
pub(super) trait StreamReceiver {
    /// A message, once.
    fn on_message(&self, message: &ReceivedMessage<'_>);
    /// The stream ended; another is opened unless it was the session's end.
    fn broke(&self, why: &CallFailure);
}

/// Messages to send: JSON.
struct OutgoingMessages {
    first: u64,
    data: Vec<String>,
}

/// A player's stream. It ends when it is dropped.
pub(super) struct StreamedPlayer {
    outbox: mpsc::UnboundedSender<OutgoingMessages>,
    task: JoinHandle<()>,
}

struct Inner {
    target: Rc<Target>,
    member: Rc<CrowdMember>,
    receiver: Rc<dyn StreamReceiver>,
    consumed: RefCell<Vec<String>>,
    /// Something is to be consumed.
    ring: Notify,
    /// The last message that came.
    last: Cell<u64>,
}

impl StreamedPlayer {
    /// Opens a stream in the background.
    pub(super) fn open(
        target: &Rc<Target>,
        member: &Rc<CrowdMember>,
        receiver: Rc<dyn StreamReceiver>,
    ) -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let inner = Inner {
            target: Rc::clone(target),
            member: Rc::clone(member),
            receiver,
            consumed: RefCell::default(),
            ring: Notify::new(),
            last: Cell::new(0),
        };
        Self { outbox, task: tokio::task::spawn_local(inner.live(inbox)) }
    }

    /// Sends messages with the numbers from `first` on.
    pub(super) fn send(&self, first: u64, data: Vec<String>) {
        // A session that is over sends nothing any more.
        let _over = self.outbox.send(OutgoingMessages { first, data });
    }
}

impl Drop for StreamedPlayer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn live(self, mut inbox: mpsc::UnboundedReceiver<OutgoingMessages>) {
        let path = format!("{PATH}?client_id={}", self.member.client);
        loop {
            let opened = Box::pin(open(&self.target, &path, SUB_PROTOCOL, &self.member.token)).await;
            let (why, over) = match opened {
                Ok(socket) => {
                    let (sink, stream) = socket.split();
                    tokio::select! {
                        end = self.read(stream) => end,
                        why = self.write(sink, &mut inbox) => (why, false),
                    }
                }
                Err(why) => (why, false),
            };
            self.receiver.broke(&why);
            if over {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads until the stream ends; answers why, and whether the session is over.
    async fn read(&self, mut stream: SplitStream<ClientSocket>) -> (CallFailure, bool) {
        let mut refused = None;
        loop {
            let text = match stream.next().await {
                Some(Ok(Frame::Text(text))) => text,
                Some(Ok(Frame::Close(frame))) => {
                    let code = frame.map(|it| u16::from(it.code));
                    let over = matches!(code, Some(close::OVER | close::REPLACED | close::UNKNOWN));
                    return (refused.unwrap_or_else(|| CallFailure::closed(code)), over);
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return (refused.unwrap_or_else(|| CallFailure::broken(error)), false),
                None => return (refused.unwrap_or_else(|| CallFailure::closed(None)), false),
            };
            match serde_json::from_str::<Came<'_>>(text.as_str()) {
                Ok(Came { error: Some(error), .. }) => {
                    refused = Some(CallFailure::refused_on_stream(error.status, &error.code));
                }
                Ok(came) => self.take(&came.incoming_messages),
                Err(error) => return (CallFailure::foreign(error), false),
            }
        }
    }

    fn take(&self, messages: &[ReceivedMessage<'_>]) {
        if messages.is_empty() {
            return;
        }
        for message in messages {
            self.consumed.borrow_mut().push(message.id.to_owned());
            // Ids grow; what isn't above the last one is a repetition.
            let id = message.id.parse().unwrap_or(u64::MAX);
            if id > self.last.replace(id.max(self.last.get())) {
                self.receiver.on_message(message);
            }
        }
        self.ring.notify_one();
    }

    async fn write(
        &self,
        mut sink: SplitSink<ClientSocket, Frame>,
        inbox: &mut mpsc::UnboundedReceiver<OutgoingMessages>,
    ) -> CallFailure {
        let mut due = None;
        loop {
            let send = tokio::select! {
                send = inbox.recv() => match send {
                    Some(send) => send,
                    None => return CallFailure::closed(None),
                },
                () = self.ring.notified(), if due.is_none() => {
                    due = Some(Instant::now() + LAZY);
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    OutgoingMessages { first: 0, data: Vec::new() }
                }
            };
            let consumed = self.consumed.take();
            if consumed.is_empty() && send.data.is_empty() {
                continue;
            }
            let frame =
                RequestBody { client: None, first: send.first, data: &send.data, consumed: &consumed }.json();
            if let Err(error) = sink.send(Frame::text(frame)).await {
                return CallFailure::broken(error);
            }
        }
    }
}
