//! A player on a stream: says what it is told to say, hands on what comes, and opens another stream
//! when one ends.

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
    crowd::Member,
    net::{Failure, Socket, Target, open},
    wire::{Came, Message, Says},
};

/// What was consumed is told with the next message, or after this time.
const LAZY: Duration = Duration::from_millis(50);
/// The pause before another stream.
const PAUSE: Duration = Duration::from_millis(500);

/// Who hears what comes.
pub(super) trait Ear {
    /// A message, once.
    fn hear(&self, message: &Message<'_>);
    /// The stream ended; another is opened unless it was the session's end.
    fn broke(&self, why: &Failure);
}

/// Messages to say: JSON.
struct Say {
    first: u64,
    data: Vec<String>,
}

/// A player's voice. Its stream ends when it is dropped.
pub(super) struct Voice {
    outbox: mpsc::UnboundedSender<Say>,
    task: JoinHandle<()>,
}

struct Inner {
    target: Rc<Target>,
    member: Rc<Member>,
    ear: Rc<dyn Ear>,
    consumed: RefCell<Vec<String>>,
    /// Something is to be consumed.
    ring: Notify,
    /// The last message that was heard.
    last: Cell<u64>,
}

impl Voice {
    /// Opens a stream in the background.
    pub(super) fn open(target: &Rc<Target>, member: &Rc<Member>, ear: Rc<dyn Ear>) -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let inner = Inner {
            target: Rc::clone(target),
            member: Rc::clone(member),
            ear,
            consumed: RefCell::default(),
            ring: Notify::new(),
            last: Cell::new(0),
        };
        Self { outbox, task: tokio::task::spawn_local(inner.live(inbox)) }
    }

    /// Says messages with the numbers from `first` on.
    pub(super) fn say(&self, first: u64, data: Vec<String>) {
        // Whose session is over isn't heard any more.
        let _over = self.outbox.send(Say { first, data });
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn live(self, mut inbox: mpsc::UnboundedReceiver<Say>) {
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
            self.ear.broke(&why);
            if over {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads until the stream ends; answers why, and whether the session is over.
    async fn read(&self, mut stream: SplitStream<Socket>) -> (Failure, bool) {
        let mut refused = None;
        loop {
            let text = match stream.next().await {
                Some(Ok(Frame::Text(text))) => text,
                Some(Ok(Frame::Close(frame))) => {
                    let code = frame.map(|it| u16::from(it.code));
                    let over = matches!(code, Some(close::OVER | close::REPLACED | close::UNKNOWN));
                    return (refused.unwrap_or_else(|| Failure::closed(code)), over);
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return (refused.unwrap_or_else(|| Failure::broken(error)), false),
                None => return (refused.unwrap_or_else(|| Failure::closed(None)), false),
            };
            match serde_json::from_str::<Came<'_>>(text.as_str()) {
                Ok(Came { error: Some(error), .. }) => {
                    refused = Some(Failure::refused_on_stream(error.status, &error.code));
                }
                Ok(came) => self.take(&came.incoming_messages),
                Err(error) => return (Failure::foreign(error), false),
            }
        }
    }

    fn take(&self, messages: &[Message<'_>]) {
        if messages.is_empty() {
            return;
        }
        for message in messages {
            self.consumed.borrow_mut().push(message.id.to_owned());
            // Ids grow; what isn't above the last one is a repetition.
            let id = message.id.parse().unwrap_or(u64::MAX);
            if id > self.last.replace(id.max(self.last.get())) {
                self.ear.hear(message);
            }
        }
        self.ring.notify_one();
    }

    async fn write(
        &self,
        mut sink: SplitSink<Socket, Frame>,
        inbox: &mut mpsc::UnboundedReceiver<Say>,
    ) -> Failure {
        let mut due = None;
        loop {
            let say = tokio::select! {
                say = inbox.recv() => match say {
                    Some(say) => say,
                    None => return Failure::closed(None),
                },
                () = self.ring.notified(), if due.is_none() => {
                    due = Some(Instant::now() + LAZY);
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    Say { first: 0, data: Vec::new() }
                }
            };
            let consumed = self.consumed.take();
            if consumed.is_empty() && say.data.is_empty() {
                continue;
            }
            let frame = Says { client: None, first: say.first, data: &say.data, consumed: &consumed }.json();
            if let Err(error) = sink.send(Frame::text(frame)).await {
                return Failure::broken(error);
            }
        }
    }
}
