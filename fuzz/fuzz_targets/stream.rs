//! Frames of the player stream, in both directions. A decoder answers for any bytes, and what it
//! took is read again as it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_api::stream::{ClientFrame, ServerFrame};
use omgservers_http::decode;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = decode::<ClientFrame<'_>>(bytes) {
        let written = serde_json::to_string(&frame).expect("a frame is JSON");
        let again = decode::<ClientFrame<'_>>(written.as_bytes()).expect("what we wrote");
        assert_eq!(serde_json::to_string(&again).expect("a frame is JSON"), written);
        assert_eq!(again.outgoing_messages.len(), frame.outgoing_messages.len());
        assert_eq!(again.consumed_messages, frame.consumed_messages);
    }
    let _ = serde_json::from_slice::<ServerFrame>(bytes);
});
