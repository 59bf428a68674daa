//! One connection: a task that reads and a body that writes. Neither waits for the other, so the
//! backend still receives from a peer that doesn't read. It stops reading from a player whose text
//! doesn't fit into its game server's queue.

use std::{
    convert::Infallible,
    future::pending,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use omgservers_dispatcher::{Bounds, Closing, FrameOutcome, OutgoingFrames, RoomConnection};
use omgservers_ws::{Decoder, Limits, Message};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{Bound, Times};

/// Frames to the peer as the body of the handshake's answer.
pub(super) struct Frames(pub(super) OutgoingFrames);

impl MessageBody for Frames {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.0.poll_next(cx).map(|it| it.map(Ok))
    }
}

/// Reading side of a connection.
pub(super) struct Socket {
    payload: Payload,
    decoder: Decoder,
    limits: Limits,
    connection: RoomConnection,
    times: Times,
    /// How long a text may wait for its game server's queue.
    max_text_wait: Duration,
}

/// Decodes received bytes and keeps the text that doesn't fit yet.
struct Intake<'a> {
    decoder: &'a mut Decoder,
    connection: &'a RoomConnection,
    max_text_wait: Duration,
    blocked: Option<(Message, Instant)>,
}

impl Socket {
    pub(super) fn new(payload: Payload, connection: RoomConnection, bounds: &Bounds, times: Times) -> Self {
        let limits = Limits { frame: bounds.frame, message: bounds.message };
        let decoder = Decoder::new(limits);
        Self { payload, decoder, limits, connection, times, max_text_wait: bounds.max_text_wait }
    }

    /// Reads until the peer is gone, or until the connection was ended and the peer had time to
    /// answer.
    pub(super) async fn run(mut self, bound: Option<Bound>) {
        if self.read(bound).await {
            let close_timeout = self.times.close_timeout;
            // Closing a socket with unread bytes resets it and could lose the close frame.
            let _answered = timeout(close_timeout, self.drain()).await;
        }
    }

    /// Returns `false` when the peer is gone and needs no answer.
    async fn read(&mut self, bound: Option<Bound>) -> bool {
        let Self { payload, decoder, connection, times, max_text_wait, .. } = self;
        let connection: &RoomConnection = connection;
        let mut intake = Intake { decoder, connection, max_text_wait: *max_text_wait, blocked: None };
        let mut beat = interval_at(Instant::now() + times.ping, times.ping);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut departure = pin!(departure(bound, times.grace));
        let mut ended = pin!(connection.ended());
        let mut received = Instant::now();
        loop {
            let until = intake.until();
            tokio::select! {
                biased;
                chunk = payload.next(), if until.is_none() => {
                    let Some(Ok(chunk)) = chunk else { return false };
                    intake.decoder.feed(&chunk);
                    if !intake.receive() {
                        return false;
                    }
                    received = Instant::now();
                }
                () = connection.released(), if until.is_some() => {
                    if !intake.receive() {
                        return false;
                    }
                    received = Instant::now();
                }
                () = sleep_until(until.unwrap_or(received)), if until.is_some() => connection.give_up(),
                () = &mut ended => return true,
                closing = &mut departure => connection.close(closing),
                _ = beat.tick() => {
                    // A peer that isn't read can't show that it is alive.
                    if until.is_none() && received.elapsed() >= times.max_idle {
                        connection.close(Closing::Idle);
                    }
                    connection.ping();
                }
            }
            if connection.is_ended() {
                return true;
            }
        }
    }

    /// Reads up to the peer's close frame.
    async fn drain(&mut self) {
        while let Some(Ok(chunk)) = self.payload.next().await {
            self.decoder.feed(&chunk);
            loop {
                match self.decoder.next_message() {
                    Ok(None) => break,
                    Ok(Some(Message::Close)) => return,
                    Ok(Some(_)) => {}
                    // What follows a violation can't be decoded.
                    Err(_) => self.decoder = Decoder::new(self.limits),
                }
            }
        }
    }
}

impl Intake<'_> {
    /// Until when the blocked text may wait; `None` when none is blocked and more may be read.
    fn until(&self) -> Option<Instant> {
        self.blocked.as_ref().map(|it| it.1)
    }

    /// Handles all complete messages up to one that doesn't fit; `false` after the last one of the
    /// connection.
    fn receive(&mut self) -> bool {
        if let Some((message, until)) = self.blocked.take()
            && self.connection.receive(&message) == FrameOutcome::Full
        {
            self.blocked = Some((message, until));
            return true;
        }
        loop {
            let message = match self.decoder.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => return true,
                Err(violation) => {
                    self.connection.violated(violation);
                    return true;
                }
            };
            if self.connection.receive(&message) == FrameOutcome::Full {
                self.blocked = Some((message, Instant::now() + self.max_text_wait));
                return true;
            }
            if message == Message::Close {
                return false;
            }
        }
    }
}

/// Waits until a player's connection has to end. That is when its session is over, or some time
/// after the player has consumed the message about its new assignment.
async fn departure(bound: Option<Bound>, grace: Duration) -> Closing {
    let Some(Bound { mut status, assignment }) = bound else { return pending().await };
    loop {
        let now = *status.borrow_and_update();
        let changed = if now.assignment != assignment && now.acknowledged {
            match timeout(grace, status.changed()).await {
                Ok(changed) => changed,
                Err(_) => return Closing::Moved,
            }
        } else {
            status.changed().await
        };
        if changed.is_err() {
            return Closing::Over;
        }
    }
}
