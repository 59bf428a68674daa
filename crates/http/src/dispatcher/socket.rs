//! One WebSocket: a task that reads, and a body that writes. Neither waits for the other, so that a peer that doesn't
//! read is still heard. A player whose text finds no room on the way to its game server isn't read until there is some.

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
use omgservers_dispatcher::{
    Bounds, Closing, Connection, Outgoing, Received,
    wire::{Decoder, Message},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{Bound, Times};

/// What goes out, as the body of the handshake's answer.
pub(super) struct Frames(pub(super) Outgoing);

impl MessageBody for Frames {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.0.poll_next(cx).map(|it| it.map(Ok))
    }
}

/// What comes in.
pub(super) struct Socket {
    payload: Payload,
    decoder: Decoder,
    connection: Connection,
    times: Times,
    /// How long a text may wait for room.
    patience: Duration,
}

/// What comes is cut into messages here, and a text that finds no room waits here.
struct Ears<'a> {
    decoder: &'a mut Decoder,
    connection: &'a Connection,
    patience: Duration,
    full: Option<(Message, Instant)>,
}

impl Socket {
    pub(super) fn new(payload: Payload, connection: Connection, bounds: &Bounds, times: Times) -> Self {
        Self { payload, decoder: Decoder::new(bounds), connection, times, patience: bounds.patience }
    }

    /// Reads until the peer is gone, or until the connection was ended and the peer has had the time to answer.
    pub(super) async fn run(mut self, bound: Option<Bound>) {
        if self.read(bound).await {
            let farewell = self.times.farewell;
            // A socket that is closed while something unread is in it would take the close frame with it.
            let _answered = timeout(farewell, self.drain()).await;
        }
    }

    /// `false` when there is nothing to wait for any more.
    async fn read(&mut self, bound: Option<Bound>) -> bool {
        let Self { payload, decoder, connection, times, patience } = self;
        let connection: &Connection = connection;
        let mut ears = Ears { decoder, connection, patience: *patience, full: None };
        let mut beat = interval_at(Instant::now() + times.ping, times.ping);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut departure = pin!(departure(bound, times.grace));
        let mut ended = pin!(connection.ended());
        let mut heard = Instant::now();
        loop {
            let until = ears.until();
            tokio::select! {
                biased;
                chunk = payload.next(), if until.is_none() => {
                    let Some(Ok(chunk)) = chunk else { return false };
                    ears.decoder.feed(&chunk);
                    if !ears.hear() {
                        return false;
                    }
                    // Anything that comes is a sign of life.
                    heard = Instant::now();
                }
                () = connection.room(), if until.is_some() => {
                    if !ears.hear() {
                        return false;
                    }
                    heard = Instant::now();
                }
                () = sleep_until(until.unwrap_or(heard)), if until.is_some() => connection.give_up(),
                () = &mut ended => return true,
                closing = &mut departure => connection.close(closing),
                _ = beat.tick() => {
                    // Who isn't read can't be heard.
                    if until.is_none() && heard.elapsed() >= times.silence {
                        connection.close(Closing::Silent);
                    }
                    connection.ping();
                }
            }
            if connection.is_ended() {
                return true;
            }
        }
    }

    /// Reads the rest, up to the peer's close frame.
    async fn drain(&mut self) {
        while let Some(Ok(chunk)) = self.payload.next().await {
            self.decoder.feed(&chunk);
            loop {
                match self.decoder.next_message() {
                    Ok(None) => break,
                    Ok(Some(Message::Close)) => return,
                    Ok(Some(_)) => {}
                    // Nothing that comes after it makes sense.
                    Err(_) => self.decoder = Decoder::new(&Bounds::default()),
                }
            }
        }
    }
}

impl Ears<'_> {
    /// Until when the text that found no room may wait; `None` when nothing waits, and more may be read.
    fn until(&self) -> Option<Instant> {
        self.full.as_ref().map(|it| it.1)
    }

    /// Takes all messages that are complete, up to one that finds no room; `false` after the last one of the
    /// connection.
    fn hear(&mut self) -> bool {
        if let Some((message, until)) = self.full.take()
            && self.connection.receive(&message) == Received::Full
        {
            self.full = Some((message, until));
            return true;
        }
        loop {
            let message = match self.decoder.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => return true,
                Err(closing) => {
                    self.connection.close(closing);
                    return true;
                }
            };
            if self.connection.receive(&message) == Received::Full {
                self.full = Some((message, Instant::now() + self.patience));
                return true;
            }
            if message == Message::Close {
                return false;
            }
        }
    }
}

/// Ends when the connection of a player has to: it is with another runtime or closed, has consumed the entry that
/// told it so, and has had the time to end the connection itself. Whoever was told nothing yet keeps it.
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
