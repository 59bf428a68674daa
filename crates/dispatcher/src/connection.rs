//! A connection as its transport sees it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use omgservers_api::{ClientId, RuntimeId};

use crate::{
    Closing, Dispatcher, envelope,
    meters::{Meters, Side},
    peer::{Held, Peer},
    queue::Pushed,
    room::{Room, Sent},
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

/// A member of a room. Dropping it is leaving.
pub struct Connection {
    dispatcher: Arc<Dispatcher>,
    room: Arc<Room>,
    peer: Arc<Peer>,
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
    pub(crate) const fn new(dispatcher: Arc<Dispatcher>, room: Arc<Room>, peer: Arc<Peer>, who: Who) -> Self {
        Self { dispatcher, room, peer, who }
    }

    /// Takes what the peer has sent. Never blocks, and never fails: what can't be delivered is dropped and counted,
    /// or ends this connection.
    pub fn receive(&self, message: &Message) {
        match message {
            Message::Text(text) => self.hear(Kind::Text, text.as_bytes(), text),
            Message::Binary(bytes) => self.hear(Kind::Binary, bytes, ""),
            Message::Ping(payload) => self.peer.pong(payload),
            Message::Pong => {}
            Message::Close => self.close(Closing::Asked),
        }
    }

    fn hear(&self, kind: Kind, bytes: &[u8], text: &str) {
        self.who.side(&self.dispatcher.meters).received.increment(1);
        match (self.who, kind) {
            (Who::Player(client, _), kind) => self.to_runtime(client, kind, bytes, text),
            (Who::Runtime(_), Kind::Text) => self.to_players(text),
            (Who::Runtime(_), Kind::Binary) => self.dispatcher.meters.garbage(),
        }
    }

    fn to_runtime(&self, client: ClientId, kind: Kind, bytes: &[u8], text: &str) {
        let meters = &self.dispatcher.meters;
        if !self.peer.is_here() {
            return meters.moved();
        }
        let bounds = &self.dispatcher.bounds;
        let Some(share) = self.peer.share(bounds.share) else { return self.too_fast(kind) };
        let frame = match kind {
            Kind::Text => envelope::text(client, text),
            Kind::Binary => envelope::binary(client, bytes),
        };
        match self.room.to_runtime(Held::shared(frame, kind, share), bounds.hold) {
            Sent::Waits(forgotten) => meters.waiting(forgotten),
            Sent::Pushed(Pushed::Taken(dropped)) => meters.binary(dropped),
            Sent::Pushed(Pushed::Dropped(dropped)) => meters.binary(dropped.saturating_add(1)),
            Sent::Pushed(Pushed::Full(dropped)) => {
                meters.binary(dropped);
                self.too_fast(kind);
            }
        }
    }

    /// The runtime doesn't keep up: a binary frame may go, a text may not.
    fn too_fast(&self, kind: Kind) {
        match kind {
            Kind::Binary => self.dispatcher.meters.binary(1),
            Kind::Text => {
                self.dispatcher.meters.text();
                self.close(Closing::TooFast);
            }
        }
    }

    fn to_players(&self, text: &str) {
        let Ok(order) = envelope::order(text, self.dispatcher.bounds.clients) else {
            return self.dispatcher.meters.garbage();
        };
        if !self.peer.is_here() {
            // Another connection took its place.
            return self.dispatcher.meters.moved();
        }
        let members = self.room.read();
        match order.clients {
            None => members.players.values().for_each(|it| self.deliver(it, &order.frame)),
            Some(clients) => {
                let known = clients.iter().filter_map(|it| members.players.get(it));
                known.for_each(|it| self.deliver(it, &order.frame));
            }
        }
    }

    fn deliver(&self, player: &Peer, frame: &Frame) {
        let meters = &self.dispatcher.meters;
        if !player.is_here() {
            return meters.moved();
        }
        match player.push(Held::new(frame.clone())) {
            Pushed::Taken(dropped) => meters.binary(dropped),
            Pushed::Dropped(dropped) => meters.binary(dropped.saturating_add(1)),
            Pushed::Full(dropped) => {
                meters.binary(dropped);
                meters.text();
                self.dispatcher.end(Some(player), Closing::TooSlow);
            }
        }
    }

    /// Lets a ping be sent.
    pub fn ping(&self) {
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
