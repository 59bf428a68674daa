//! What WebSockets need beside their library: a message that is too large is refused when a frame of it announces
//! so. The library would first collect the frame, however large it is.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::{self, Payload},
    error::PayloadError,
    web,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use omgservers_api::Problem;

/// How long the rest of a message that is too large is read and thrown away. A connection that is closed with
/// something unread is reset, and the reset may overtake what the client was told last.
pub(crate) const THROWN_AWAY: Duration = Duration::from_secs(1);

/// A payload of messages that have at most `limit` bytes each, in however many frames. A larger one ends it with
/// [`PayloadError::Overflow`], after all that came before it; what comes then is thrown away for a while.
pub(crate) async fn guarded(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<web::Payload, Problem> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let guard = Guard { payload: payload.into_inner(), heads: Heads::new(limit), end: End::None };
    let mut guarded: Payload = Payload::Stream { payload: Box::pin(guard) };
    web::Payload::from_request(request, &mut guarded).await.map_err(|it| Problem::internal(it.to_string()))
}

struct Guard {
    payload: dev::Payload,
    heads: Heads,
    end: End,
}

/// How far the end is that a message which is too large makes.
#[derive(Clone, Copy)]
enum End {
    /// There was none.
    None,
    /// What came before it was passed on.
    Passed,
    /// The library has had the time to take messages out of that: it would forget them for an error.
    Due,
}

impl Stream for Guard {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.end {
            End::None => {}
            End::Passed => return this.pause(cx),
            End::Due => return Poll::Ready(Some(Err(PayloadError::Overflow))),
        }
        let polled = this.payload.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled
            && let Err(end) = this.heads.pass(bytes)
        {
            let mut rest = std::mem::replace(&mut this.payload, Payload::None);
            actix_web::rt::spawn(async move {
                let thrown_away = async { while let Some(Ok(_)) = rest.next().await {} };
                let _patience = tokio::time::timeout(THROWN_AWAY, thrown_away).await;
            });
            if end == 0 {
                return this.pause(cx);
            }
            this.end = End::Passed;
            return Poll::Ready(Some(Ok(bytes.slice(..end))));
        }
        polled
    }
}

impl Guard {
    fn pause(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.end = End::Due;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Finds the heads of frames in the bytes of a client.
struct Heads {
    limit: u64,
    /// What has come of the head that is due.
    head: Vec<u8>,
    /// Bytes that belong to the frame whose head has passed.
    rest: u64,
    /// Bytes of the message so far.
    message: u64,
}

impl Heads {
    fn new(limit: u64) -> Self {
        Self { limit, head: Vec::new(), rest: 0, message: 0 }
    }

    /// Looks at what comes. The error says how much of it comes before the frame that makes a message too large.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let (mut at, mut frame_at) = (0_usize, 0);
        while let Some(byte) = bytes.get(at) {
            if self.rest > 0 {
                let left = bytes.len().saturating_sub(at);
                let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(left);
                self.rest = self.rest.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
                at = at.saturating_add(skipped);
                continue;
            }
            if self.head.is_empty() {
                frame_at = at;
            }
            self.head.push(*byte);
            at = at.saturating_add(1);
            if let Some((opcode, length)) = announced(&self.head) {
                self.head.clear();
                self.rest = length;
                self.message = match opcode {
                    CONTINUATION => self.message.saturating_add(length),
                    // Between the frames of a message there may be others that steer the connection.
                    8.. if length <= 125 => self.message,
                    _ => length,
                };
                if self.message > self.limit {
                    return Err(frame_at);
                }
            }
        }
        Ok(())
    }
}

const CONTINUATION: u8 = 0;

/// The opcode and the length that a head announces, when it is there with its mask.
fn announced(head: &[u8]) -> Option<(u8, u64)> {
    let [first, second, after @ ..] = head else { return None };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (size, length) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(*after.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*after.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    (after.len() == size + mask).then_some((first & 0x0f, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client sends it; a head may tell another length than the body has.
    fn frame(opcode: u8, announced: u64, body: usize) -> Vec<u8> {
        let mut bytes = vec![opcode];
        match announced {
            0..=125 => bytes.push(0x80 | u8::try_from(announced).unwrap()),
            126..=65_535 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(announced).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend(announced.to_be_bytes());
            }
        }
        bytes.extend([0xff; 4]);
        bytes.extend(vec![0xff; body]);
        bytes
    }

    fn text(length: usize) -> Vec<u8> {
        frame(0x81, u64::try_from(length).unwrap(), length)
    }

    #[test]
    fn a_frame_without_end_is_refused_at_its_head() {
        for announced in [1_001, 70_000, u64::MAX] {
            assert!(Heads::new(1_000).pass(&frame(0x81, announced, 0)).is_err(), "{announced}");
            assert!(Heads::new(1_000).pass(&frame(0x89, announced, 0)).is_err(), "a ping of {announced}");
        }
        assert!(Heads::new(1_000).pass(&frame(0x81, 1_000, 0)).is_ok());
    }

    #[test]
    fn a_message_in_many_frames_is_refused_when_it_becomes_too_large() {
        let mut heads = Heads::new(1_000);
        for _ in 0..2 {
            assert!(heads.pass(&frame(0x01, 400, 400)).is_ok());
            assert!(heads.pass(&frame(0x89, 100, 100)).is_ok(), "a ping in between doesn't count");
            assert!(heads.pass(&frame(0x00, 400, 400)).is_ok());
            assert!(heads.pass(&frame(0x80, 200, 200)).is_ok());
        }
        assert!(heads.pass(&frame(0x01, 600, 600)).is_ok());
        assert_eq!(heads.pass(&frame(0x00, 401, 0)), Err(0));
        // What came before it, in the same piece, is told apart.
        let before = text(10);
        let mut both = before.clone();
        both.extend(text(2_000));
        assert_eq!(Heads::new(1_000).pass(&both), Err(before.len()));
    }

    proptest! {
        #[test]
        fn messages_pass_however_they_are_cut_and_one_too_large_does_not(
            lengths in prop::collection::vec(0usize..70_000, 1..6),
            cut in 1usize..5_000,
            last in prop::option::of(70_000u64..),
        ) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|it| text(*it)).collect();
            bytes.extend(last.map(|it| frame(0x81, it, 0)).unwrap_or_default());
            let mut heads = Heads::new(69_999);
            let passed = bytes.chunks(cut).all(|it| heads.pass(it).is_ok());
            prop_assert_eq!(passed, last.is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _whatever = Heads::new(1_000_000).pass(&bytes);
        }
    }
}
