//! Frames of WebSockets as they come in: however the bytes are cut, the same messages come out, none larger than it may
//! be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_dispatcher::{
    Bounds, Closing,
    wire::{Decoder, Message},
};

/// All messages, and how it ended.
fn read<'a>(bounds: &Bounds, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<Closing>) {
    let (mut decoder, mut messages) = (Decoder::new(bounds), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(closing) => return (messages, Some(closing)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    // Small bounds, so that they are met.
    let bounds = Bounds { frame: 200, message: 300, ..Bounds::default() };
    let whole = read(&bounds, std::iter::once(bytes));
    let pieces = read(&bounds, bytes.chunks(usize::from(size).max(1)));
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1, pieces.1);
    for message in whole.0 {
        let length = match message {
            Message::Text(it) => it.len(),
            Message::Binary(it) => it.len(),
            Message::Ping(it) => {
                assert!(it.len() <= 125);
                0
            }
            Message::Pong | Message::Close => 0,
        };
        assert!(length <= bounds.message);
    }
});
