//! Frames of WebSockets as they come in: the same messages come out of any cut of the bytes, none
//! larger than it may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_ws::{Decoder, Limits, Message, Violation};

/// All messages, and how it ended.
fn read<'a>(limits: Limits, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<Violation>) {
    let (mut decoder, mut messages) = (Decoder::new(limits), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    // Small limits, so that inputs reach them.
    let limits = Limits { frame: 200, message: 300 };
    let whole = read(limits, std::iter::once(bytes));
    let pieces = read(limits, bytes.chunks(usize::from(size).max(1)));
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1, pieces.1);
    for message in whole.0 {
        let length = match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            Message::Ping(bytes) => {
                assert!(bytes.len() <= 125);
                0
            }
            Message::Pong | Message::Close => 0,
        };
        assert!(length <= limits.message);
    }
});
