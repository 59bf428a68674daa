//! A connection as its transport sees it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use omgservers_api::{ClientId, RuntimeId};
use tokio::time::timeout_at;

use crate::{
    Closing, Dispatcher, envelope,
    meters::{Meters, Side},
    peer::{Held, Peer},
    queue::Pushed,
    room::Room,
    way::{Share, Way},
    wire::{Frame, Kind, Message},
};

/// What a player's connection is bound to.
pub trait Assignment: Send + Sync {
    /// Whether the client is still with the runtime whose room it is in. Asked for each frame.
    fn holds(&self) -> bool;
}

/// Who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Runtime(RuntimeId),
    Player(ClientId, RuntimeId),
}

impl Who {
    pub(crate) const fn runtime(self) -> RuntimeId {
        match self {
            Self::Runtime(runtime) | Self::Player(_, runtime) => runtime,
        }
    }

    pub(crate) const fn side(self, meters: &Meters) -> &Side {
        match self {
            Self::Runtime(_) => &meters.runtimes,
            Self::Player(..) => &meters.players,
        }
    }
}

/// What became of a message.
#[must_use = "a text that found no room is lost unless it is given again"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It was taken, or dropped and counted.
    Done,
    /// A text found no room on the way to the runtime. It is to be given again when there [is some](Connection::room),
    /// and nothing else of this peer before it.
    Full,
}

/// A member of a room. Dropping it is leaving.
pub struct Connection {
    dispatcher: Arc<Dispatcher>,
    room: Arc<Room>,
    peer: Arc<Peer>,
    /// To the runtime; a runtime doesn't use its own.
    way: Arc<Way>,
    who: Who,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.who).finish()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.done();
        self.dispatcher.leave(self.who, &self.peer);
    }
}

impl Connection {
    pub(crate) const fn new(
        dispatcher: Arc<Dispatcher>,
        room: Arc<Room>,
        peer: Arc<Peer>,
        way: Arc<Way>,
        who: Who,
    ) -> Self {
        Self { dispatcher, room, peer, way, who }
    }

    /// Takes what the peer has sent. Never blocks, and never fails: what can't be delivered is dropped and counted,
    /// or, if it is a player's text, has to wait.
    pub fn receive(&self, message: &Message) -> Received {
        match message {
            Message::Text(text) => return self.hear(Kind::Text, text.as_bytes(), text),
            Message::Binary(bytes) => return self.hear(Kind::Binary, bytes, ""),
            Message::Ping(payload) => self.peer.pong(payload),
            Message::Pong => {}
            Message::Close => self.close(Closing::Asked),
        }
        Received::Done
    }

    fn hear(&self, kind: Kind, bytes: &[u8], text: &str) -> Received {
        let meters = &self.dispatcher.meters;
        match (self.who, kind) {
            (Who::Player(client, _), kind) => {
                if self.to_runtime(client, kind, bytes, text) == Received::Full {
                    meters.paused();
                    return Received::Full;
                }
            }
            (Who::Runtime(_), Kind::Text) => self.to_players(text),
            (Who::Runtime(_), Kind::Binary) => meters.garbage(),
        }
        self.who.side(meters).received.increment(1);
        Received::Done
    }

    fn to_runtime(&self, client: ClientId, kind: Kind, bytes: &[u8], text: &str) -> Received {
        let meters = &self.dispatcher.meters;
        if !self.peer.is_here() {
            meters.moved();
            return Received::Done;
        }
        let frame = match kind {
            Kind::Text => envelope::text(client, text),
            Kind::Binary => envelope::binary(client, bytes),
        };
        let full = match self.share(frame.bytes().len(), kind) {
            None => true,
            Some(share) => {
                let held = Held::shared(frame, kind, share);
                let sent = self.room.to_runtime(held, &self.way, &self.dispatcher.bounds);
                meters.waiting(sent.forgotten);
                let (Pushed::Taken(dropped) | Pushed::Dropped(dropped) | Pushed::Full(dropped)) = sent.pushed;
                meters.binary(dropped);
                !matches!(sent.pushed, Pushed::Taken(_))
            }
        };
        match kind {
            // A binary frame may go, a text may not.
            Kind::Binary if full => meters.binary(1),
            Kind::Text if full => return Received::Full,
            _ => {}
        }
        Received::Done
    }

    /// The client's own room for a frame.
    fn share(&self, bytes: usize, kind: Kind) -> Option<Share> {
        self.way.take(bytes, false).or_else(|| {
            // What is too old may be in the way.
            self.forget();
            self.way.take(bytes, kind == Kind::Text)
        })
    }

    /// Drops what has waited too long for a runtime that isn't there.
    fn forget(&self) {
        self.dispatcher.meters.waiting(self.room.forget(self.dispatcher.bounds.hold));
    }

    /// Waits until there may be room for a text that found none. For one waiter; may be broken off and called again.
    pub async fn room(&self) {
        match self.room.due(self.dispatcher.bounds.hold) {
            // Time makes room, too.
            Some(due) => {
                let _in_time = timeout_at(due, self.way.room()).await;
            }
            None => self.way.room().await,
        }
    }

    /// Ends the connection of a player whose text has found no room for too long.
    pub fn give_up(&self) {
        self.dispatcher.meters.text();
        self.close(Closing::TooFast);
    }

    fn to_players(&self, text: &str) {
        let Ok(delivery) = envelope::decode(text, self.dispatcher.bounds.clients) else {
            return self.dispatcher.meters.garbage();
        };
        if !self.peer.is_here() {
            // Another connection took its place.
            return self.dispatcher.meters.moved();
        }
        let members = self.room.read();
        match delivery.clients {
            None => members.players.values().for_each(|it| self.deliver(it, &delivery.frame)),
            Some(clients) => {
                let known = clients.iter().filter_map(|it| members.players.get(it));
                known.for_each(|it| self.deliver(it, &delivery.frame));
            }
        }
    }

    fn deliver(&self, player: &Peer, frame: &Frame) {
        let meters = &self.dispatcher.meters;
        if !player.is_here() {
            return meters.moved();
        }
        match player.push(Held::new(frame.clone())) {
            // It has ended just now.
            Err(_) => meters.moved(),
            Ok(Pushed::Taken(dropped)) => meters.binary(dropped),
            Ok(Pushed::Dropped(dropped)) => meters.binary(dropped.saturating_add(1)),
            Ok(Pushed::Full(dropped)) => {
                meters.binary(dropped);
                meters.text();
                self.dispatcher.end(Some(player), Closing::TooSlow);
            }
        }
    }

    /// Lets a ping be sent. To be called now and then: it also drops what has waited too long for a runtime.
    pub fn ping(&self) {
        self.forget();
        self.peer.ping();
    }

    /// Ends the connection: what waits is dropped, the close frame is sent. The transport reads on until the peer has
    /// answered, and then drops this.
    pub fn close(&self, closing: Closing) {
        self.dispatcher.end(Some(&self.peer), closing);
    }

    /// Whether somebody has ended this connection.
    pub fn is_ended(&self) -> bool {
        self.peer.is_ended()
    }

    /// Waits until somebody ends this connection. For one waiter; may be broken off and called again.
    pub async fn ended(&self) {
        self.peer.ended().await;
    }

    /// What the transport writes. For one writer.
    pub fn outgoing(&self) -> Outgoing {
        Outgoing { dispatcher: Arc::clone(&self.dispatcher), peer: Arc::clone(&self.peer), who: self.who }
    }
}

/// What goes to a peer.
pub struct Outgoing {
    dispatcher: Arc<Dispatcher>,
    peer: Arc<Peer>,
    who: Who,
}

impl Outgoing {
    /// The next frame with its head; `None` when the connection may be closed.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        self.peer.poll_next(cx).map(|it| {
            it.map(|(bytes, is_message)| {
                if is_message {
                    self.who.side(&self.dispatcher.meters).sent.increment(1);
                }
                bytes
            })
        })
    }
}
