use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::encode::head;

const LIMITS: Limits = Limits { frame: 64 << 10, message: 256 << 10 };

/// A frame as a client sends it.
fn sent(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let (head, size) = head(0, payload.len());
    let mut bytes = vec![first, head[1] | MASKED];
    bytes.extend(&head[2..size]);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    sent(FINAL | TEXT, payload.as_bytes(), [1, 2, 3, 4])
}

fn all(decoder: &mut Decoder) -> Result<Vec<Message>, Violation> {
    std::iter::from_fn(|| decoder.next_message().transpose()).collect()
}

fn decoded(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
    let mut decoder = Decoder::new(LIMITS);
    decoder.feed(bytes);
    all(&mut decoder)
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let masked = [MASKED | 1, 0, 0, 0, 0, b'x'];
    let with = |first: u8| [&[first][..], &masked].concat();
    assert!(decoded(&with(FINAL | TEXT)).is_ok());
    for (name, bytes) in [
        ("a reserved bit", with(FINAL | 0x40 | TEXT)),
        ("an unknown opcode", with(FINAL | 0x3)),
        ("an unknown control frame", with(FINAL | 0xB)),
        ("a control frame in pieces", with(PING)),
        ("the end of no message", with(FINAL | CONTINUATION)),
        ("no mask", vec![FINAL | TEXT, 1, b'x']),
        ("a message inside of another", [with(TEXT), with(FINAL | TEXT)].concat()),
        ("a large control frame", vec![FINAL | PING, MASKED | 126, 0, 126]),
    ] {
        assert_eq!(decoded(&bytes), Err(Violation::Protocol), "{name}");
    }
    assert_eq!(decoded(&sent(FINAL | TEXT, b"\xff", [0; 4])), Err(Violation::NotText));
}

#[test]
fn what_is_too_large_is_refused_at_its_head() {
    let large = |length: u64| {
        let mut bytes = vec![FINAL | BINARY, MASKED | 127];
        bytes.extend(length.to_be_bytes());
        decoded(&bytes)
    };
    for length in [65_537, 1 << 40, u64::MAX] {
        assert_eq!(large(length), Err(Violation::TooLarge));
    }
    assert_eq!(large(65_536), Ok(vec![]));
    let part = |first| sent(first, &[7; 60_000], [9; 4]);
    let mut bytes = part(BINARY);
    for _ in 0..3 {
        bytes.extend(part(CONTINUATION));
    }
    assert_eq!(decoded(&bytes), Ok(vec![]));
    bytes.extend(part(FINAL | CONTINUATION));
    assert_eq!(decoded(&bytes), Err(Violation::TooLarge), "300 kB in five frames");
}

#[test]
fn control_frames_come_between_the_frames_of_a_message() {
    let bytes = [
        sent(TEXT, "gr\u{fc}".as_bytes().get(..3).unwrap(), [5, 6, 7, 8]),
        sent(FINAL | PING, b"are you there", [9; 4]),
        sent(FINAL | PONG, b"", [9; 4]),
        sent(FINAL | CONTINUATION, b"\xbcn", [1; 4]),
        sent(FINAL | CLOSE, b"\x03\xe8bye", [1; 4]),
    ];
    let found = decoded(&bytes.concat()).unwrap();
    let ping = Message::Ping(Bytes::from_static(b"are you there"));
    assert_eq!(found, [ping, Message::Pong, Message::Text("gr\u{fc}n".into()), Message::Close]);
}

#[test]
fn an_idle_connection_keeps_no_buffer() {
    let mut decoder = Decoder::new(LIMITS);
    decoder.feed(&text(&"x".repeat(60_000)));
    assert_eq!(all(&mut decoder).unwrap().len(), 1);
    assert_eq!(decoder.capacity(), 0);
}

#[test]
fn a_message_is_refused_at_the_head_of_the_frame_that_makes_it_too_large() {
    let mut decoder = Decoder::new(Limits { frame: 300, message: 500 });
    decoder.feed(&sent(TEXT, &[b'x'; 300], [1; 4]));
    decoder.feed(&sent(FINAL | PING, &[0; 125], [1; 4]));
    assert_eq!(all(&mut decoder).unwrap().len(), 1, "a control frame doesn't count");
    // The head of a continuation whose payload never comes.
    decoder.feed(&sent(FINAL | CONTINUATION, &[b'x'; 201], [1; 4])[..8]);
    assert_eq!(all(&mut decoder), Err(Violation::TooLarge));
}

#[test]
fn a_close_frame_has_its_code_and_its_reason_or_neither() {
    assert_eq!(*close(Some((1001, "bye"))), [FINAL | CLOSE, 5, 0x03, 0xE9, b'b', b'y', b'e']);
    assert_eq!(*close(None), [FINAL | CLOSE, 0]);
    assert_eq!(*ping(), [FINAL | PING, 0]);
    assert_eq!(*pong(b"p"), [FINAL | PONG, 1, b'p']);
}

proptest! {
    #[test]
    fn messages_are_what_was_sent_however_their_bytes_are_cut(
        messages in prop::collection::vec((any::<bool>(), "\\PC{0,300}", 1usize..4, any::<[u8; 4]>()), 1..8),
        cut in 1usize..400,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (is_text, text, parts, mask) in &messages {
            let opcode = if *is_text { TEXT } else { BINARY };
            let pieces: Vec<&[u8]> = text.as_bytes().chunks((text.len() / parts).max(1)).collect();
            let pieces = if pieces.is_empty() { vec![&b""[..]] } else { pieces };
            for (at, piece) in pieces.iter().enumerate() {
                let first = if at == 0 { opcode } else { CONTINUATION };
                let end = if at + 1 == pieces.len() { FINAL } else { 0 };
                bytes.extend(sent(first | end, piece, *mask));
            }
            expected.push(if *is_text {
                Message::Text(text.as_str().into())
            } else {
                Message::Binary(Bytes::copy_from_slice(text.as_bytes()))
            });
        }
        let mut decoder = Decoder::new(LIMITS);
        let mut found = Vec::new();
        for piece in bytes.chunks(cut) {
            decoder.feed(piece);
            found.extend(all(&mut decoder).unwrap());
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _whatever = decoded(&bytes);
    }

    #[test]
    fn a_frame_is_its_head_and_its_payload(length in prop_oneof![0usize..300, 65_000usize..66_000]) {
        let payload = vec![b'a'; length];
        let frame = EncodedFrame::new(FrameKind::Text, &payload);
        let (head, size) = head(TEXT, length);
        prop_assert_eq!(&frame.bytes()[..size], &head[..size]);
        prop_assert_eq!(&frame.bytes()[size..], &payload[..]);
        // What a client would send differs in the mask only.
        let mut masked = sent(frame.bytes()[0], &payload, [0; 4]);
        masked.truncate(size + 4 + length);
        let mut decoder = Decoder::new(Limits { frame: 1 << 20, message: 1 << 20 });
        decoder.feed(&masked);
        let text = String::from_utf8(payload).unwrap();
        prop_assert_eq!(decoder.next_message().unwrap(), Some(Message::Text(text.into())));
    }
}
