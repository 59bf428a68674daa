//! Connection to a room as its transport sees it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use omgservers_api::{ClientId, RuntimeId};
use omgservers_ws::{EncodedFrame, FrameKind, Message, Violation};
use tokio::time::{Instant, timeout_at};

use crate::{
    Closing, Dispatcher, envelope,
    meters::{Meters, RoleMeters},
    peer::{Peer, QueuedFrame},
    queue::Pushed,
    quota::{ClientQuota, Permit},
    room::Room,
};

/// Assignment that a player's connection is bound to.
pub trait Assignment: Send + Sync {
    /// Whether the client is still with the runtime of its room. The dispatcher checks it for each
    /// frame.
    fn holds(&self) -> bool;
}

/// Identity of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomMember {
    Runtime(RuntimeId),
    Player(ClientId, RuntimeId),
}

impl RoomMember {
    pub(crate) const fn runtime(self) -> RuntimeId {
        match self {
            Self::Runtime(runtime) | Self::Player(_, runtime) => runtime,
        }
    }

    pub(crate) const fn side(self, meters: &Meters) -> &RoleMeters {
        match self {
            Self::Runtime(_) => &meters.runtimes,
            Self::Player(..) => &meters.players,
        }
    }
}

/// Outcome of a received message.
#[must_use = "a text that didn't fit is lost unless it is received again"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameOutcome {
    /// The message was handled: queued, or dropped and counted.
    Done,
    /// A text doesn't fit into the runtime's queue. The transport waits for
    /// [`released`](RoomConnection::released) and passes the same text again before anything else.
    Full,
}

/// Connection of one member; dropping it leaves the room.
pub struct RoomConnection {
    dispatcher: Arc<Dispatcher>,
    room: Arc<Room>,
    peer: Arc<Peer>,
    /// Quota in the runtime's queue; unused for a runtime.
    quota: Arc<ClientQuota>,
    member: RoomMember,
}

impl fmt::Debug for RoomConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoomConnection").field(&self.member).finish()
    }
}

impl Drop for RoomConnection {
    fn drop(&mut self) {
        self.peer.done();
        self.dispatcher.leave(self.member, &self.peer);
    }
}

impl RoomConnection {
    pub(crate) const fn new(
        dispatcher: Arc<Dispatcher>,
        room: Arc<Room>,
        peer: Arc<Peer>,
        quota: Arc<ClientQuota>,
        member: RoomMember,
    ) -> Self {
        Self { dispatcher, room, peer, quota, member }
    }

    /// Handles a message of the member. Never blocks and never fails: it drops and counts what it
    /// can't deliver, except a player's text, which has to wait.
    pub fn receive(&self, message: &Message) -> FrameOutcome {
        match message {
            Message::Text(text) => return self.receive_frame(FrameKind::Text, text.as_bytes(), text),
            Message::Binary(bytes) => return self.receive_frame(FrameKind::Binary, bytes, ""),
            Message::Ping(payload) => self.peer.pong(payload),
            Message::Pong => {}
            Message::Close => self.close(Closing::Requested),
        }
        FrameOutcome::Done
    }

    fn receive_frame(&self, kind: FrameKind, bytes: &[u8], text: &str) -> FrameOutcome {
        let meters = &self.dispatcher.meters;
        match (self.member, kind) {
            (RoomMember::Player(client, _), kind) => {
                if self.to_runtime(client, kind, bytes, text) == FrameOutcome::Full {
                    meters.paused();
                    return FrameOutcome::Full;
                }
            }
            (RoomMember::Runtime(_), FrameKind::Text) => self.to_players(text),
            (RoomMember::Runtime(_), FrameKind::Binary) => meters.garbage(),
        }
        self.member.side(meters).received.increment(1);
        FrameOutcome::Done
    }

    fn to_runtime(&self, client: ClientId, kind: FrameKind, bytes: &[u8], text: &str) -> FrameOutcome {
        let meters = &self.dispatcher.meters;
        if !self.peer.is_here() {
            meters.moved();
            return FrameOutcome::Done;
        }
        let frame = match kind {
            FrameKind::Text => envelope::text(client, text),
            FrameKind::Binary => envelope::binary(client, bytes),
        };
        let full = match self.acquire(frame.bytes().len(), kind) {
            None => true,
            Some(permit) => {
                let frame = QueuedFrame::with_permit(frame, kind, permit);
                let bounds = &self.dispatcher.bounds;
                let sent = self.room.to_runtime(frame, &self.quota, bounds, Instant::now());
                meters.expired(sent.expired);
                let (Pushed::Queued(dropped) | Pushed::Dropped(dropped) | Pushed::Full(dropped)) =
                    sent.pushed;
                meters.binary(dropped);
                !matches!(sent.pushed, Pushed::Queued(_))
            }
        };
        match kind {
            // A binary frame may be dropped, a text may not.
            FrameKind::Binary if full => meters.binary(1),
            FrameKind::Text if full => return FrameOutcome::Full,
            _ => {}
        }
        FrameOutcome::Done
    }

    /// Acquires a part of the client's quota.
    fn acquire(&self, bytes: usize, kind: FrameKind) -> Option<Permit> {
        self.quota.acquire(bytes, false).or_else(|| {
            // Frames that are too old may use the quota up.
            self.expire();
            self.quota.acquire(bytes, kind == FrameKind::Text)
        })
    }

    /// Drops frames that are too old while the runtime isn't connected.
    fn expire(&self) {
        let expired = self.room.expire(Instant::now(), self.dispatcher.bounds.backlog_time);
        self.dispatcher.meters.expired(expired);
    }

    /// Waits until a text that didn't fit may fit. For one waiter; cancel-safe.
    pub async fn released(&self) {
        match self.room.due(self.dispatcher.bounds.backlog_time) {
            // Frames that become too old make space, too.
            Some(due) => {
                let _in_time = timeout_at(due, self.quota.released()).await;
            }
            None => self.quota.released().await,
        }
    }

    /// Ends the connection of a player whose text didn't fit for too long.
    pub fn give_up(&self) {
        self.dispatcher.meters.text();
        self.close(Closing::TooFast);
    }

    fn to_players(&self, text: &str) {
        let Ok(delivery) = envelope::decode(text, self.dispatcher.bounds.clients) else {
            return self.dispatcher.meters.garbage();
        };
        if !self.peer.is_here() {
            // Another connection of the runtime replaced this one.
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

    fn deliver(&self, player: &Peer, frame: &EncodedFrame) {
        let meters = &self.dispatcher.meters;
        if !player.is_here() {
            return meters.moved();
        }
        match player.push(QueuedFrame::new(frame.clone())) {
            // The connection has just ended.
            Err(_) => meters.moved(),
            Ok(Pushed::Queued(dropped)) => meters.binary(dropped),
            Ok(Pushed::Dropped(dropped)) => meters.binary(dropped.saturating_add(1)),
            Ok(Pushed::Full(dropped)) => {
                meters.binary(dropped);
                meters.text();
                self.dispatcher.end(Some(player), Closing::TooSlow);
            }
        }
    }

    /// Sends a ping and drops frames that are too old. The transport calls it regularly.
    pub fn ping(&self) {
        self.expire();
        self.peer.ping();
    }

    /// Ends the connection: drops its queue and sends the close frame. The transport reads until
    /// the peer has answered, then drops this.
    pub fn close(&self, closing: Closing) {
        self.dispatcher.end(Some(&self.peer), closing);
    }

    /// Ends the connection of a member whose bytes violate the WebSocket protocol or its limits.
    pub fn violated(&self, violation: Violation) {
        self.close(match violation {
            Violation::Protocol => Closing::Protocol,
            Violation::NotText => Closing::NotText,
            Violation::TooLarge => Closing::TooLarge,
        });
    }

    /// Whether the connection was ended.
    pub fn is_ended(&self) -> bool {
        self.peer.is_ended()
    }

    /// Waits until the connection is ended. For one waiter; cancel-safe.
    pub async fn ended(&self) {
        self.peer.ended().await;
    }

    /// Returns what the transport writes. For one writer.
    pub fn outgoing(&self) -> OutgoingFrames {
        OutgoingFrames {
            dispatcher: Arc::clone(&self.dispatcher),
            peer: Arc::clone(&self.peer),
            member: self.member,
        }
    }
}

/// Frames to a member.
pub struct OutgoingFrames {
    dispatcher: Arc<Dispatcher>,
    peer: Arc<Peer>,
    member: RoomMember,
}

impl OutgoingFrames {
    /// Returns the next frame with its head; `None` when the transport may close.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        self.peer.poll_next(cx).map(|next| {
            next.map(|(bytes, is_message)| {
                if is_message {
                    self.member.side(&self.dispatcher.meters).sent.increment(1);
                }
                bytes
            })
        })
    }
}
