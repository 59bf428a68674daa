//! One WebSocket: a task that reads, and a body that writes. Neither waits for the other, so that a peer that doesn't
//! read is still heard.

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
    Bounds, Closing, Connection, Outgoing,
    wire::{Decoder, Message},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

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
}

impl Socket {
    pub(super) fn new(payload: Payload, connection: Connection, bounds: &Bounds, times: Times) -> Self {
        Self { payload, decoder: Decoder::new(bounds), connection, times }
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
        let Self { payload, decoder, connection, times } = self;
        let mut beat = interval_at(Instant::now() + times.ping, times.ping);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut departure = pin!(departure(bound, times.grace));
        let mut ended = pin!(connection.ended());
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                chunk = payload.next() => {
                    // Anything that comes is a sign of life.
                    heard = Instant::now();
                    let Some(Ok(chunk)) = chunk else { return false };
                    decoder.feed(&chunk);
                    match hear(decoder, connection) {
                        Ok(true) => {}
                        Ok(false) => return false,
                        Err(closing) => connection.close(closing),
                    }
                }
                () = &mut ended => return true,
                closing = &mut departure => connection.close(closing),
                _ = beat.tick() => {
                    if heard.elapsed() >= times.silence {
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

/// Takes all messages that are complete; `false` after the last one of the connection.
fn hear(decoder: &mut Decoder, connection: &Connection) -> Result<bool, Closing> {
    while let Some(message) = decoder.next_message()? {
        connection.receive(&message);
        if message == Message::Close {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends when the connection of a player has to: it is with another runtime or closed, has consumed the entry that
/// told it so, and has had the time to end the connection itself. Whoever was told nothing yet keeps it.
async fn departure(bound: Option<Bound>, grace: Duration) -> Closing {
    let Some(Bound { mut standing, assigned }) = bound else { return pending().await };
    loop {
        let now = *standing.borrow_and_update();
        let changed = if now.assigned != assigned && now.told {
            match timeout(grace, standing.changed()).await {
                Ok(changed) => changed,
                Err(_) => return Closing::Moved,
            }
        } else {
            standing.changed().await
        };
        if changed.is_err() {
            return Closing::Over;
        }
    }
}
