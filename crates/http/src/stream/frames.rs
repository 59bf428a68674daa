//! Frames: what a client's text says, and what the backend's texts are.

use omgservers_api::{
    Kind, Problem,
    ids::SenderSeq,
    interchange::message,
    stream::{ClientFrame, StreamError, close},
};
use omgservers_messaging::{
    Entry,
    problems::{FOREIGN_CLIENT, STREAM_REPLACED},
};
use serde::{Deserialize, Serialize};

use crate::{body::decode, interchange_body};

/// A client's frame, or why it is none, with its number if that can be read.
pub(super) fn read(text: &str) -> Result<ClientFrame<'_>, (Option<SenderSeq>, Problem)> {
    #[derive(Deserialize)]
    struct Number {
        request: Option<SenderSeq>,
    }
    decode(text.as_bytes()).map_err(|problem| {
        let number = decode::<Number>(text.as_bytes()).ok();
        (number.and_then(|it| it.request), problem)
    })
}

/// Entries in frames: an assignment and an upgrade never share one. A client that got both would
/// take the end of its old direct connection for the end of the new one.
pub(super) fn incoming(entries: &[Entry]) -> Vec<String> {
    let mut frames = Vec::new();
    let (mut start, mut last) = (0, None);
    for (index, entry) in entries.iter().enumerate() {
        let kind = entry.qualifier;
        if !matches!(kind, message::RUNTIME_ASSIGNMENT | message::CONNECTION_UPGRADE) {
            continue;
        }
        if last.is_some_and(|it| it != kind) {
            frames.extend(entries.get(start..index));
            start = index;
        }
        last = Some(kind);
    }
    frames.extend(entries.get(start..).filter(|it| !it.is_empty()));
    frames.into_iter().map(|it| interchange_body::write("incoming_messages", it, "")).collect()
}

/// That a frame's messages are durable.
pub(super) fn accepted(highest: Option<SenderSeq>, request: Option<SenderSeq>) -> String {
    let highest = highest.map_or_else(|| "null".to_owned(), |it| it.0.to_string());
    match request {
        Some(request) => format!(r#"{{"accepted":{highest},"request":{}}}"#, request.0),
        None => format!(r#"{{"accepted":{highest}}}"#),
    }
}

/// That a frame was not accepted, or why the stream ends.
pub(super) fn refused(problem: &Problem, request: Option<SenderSeq>, request_id: &str) -> String {
    #[derive(Serialize)]
    struct StreamRefusal {
        error: StreamError,
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<SenderSeq>,
    }
    let error = StreamError { status: problem.kind().status(), body: problem.body(request_id) };
    // Strings and numbers always become JSON.
    serde_json::to_string(&StreamRefusal { error, request }).unwrap_or_default()
}

/// With which code a problem ends the stream; `None` when only one frame is at fault.
pub(super) fn ends_with(problem: &Problem) -> Option<u16> {
    match problem.kind() {
        _ if problem.is(FOREIGN_CLIENT) => Some(close::FOREIGN),
        _ if problem.is(STREAM_REPLACED) => Some(close::REPLACED),
        Kind::NotFound => Some(close::UNKNOWN),
        Kind::Unauthenticated => Some(close::TOKEN),
        // The slots went to another process.
        Kind::Exhausted | Kind::Unavailable | Kind::Gone => Some(close::TRY_LATER),
        Kind::Internal => Some(close::INTERNAL),
        Kind::Invalid | Kind::Forbidden | Kind::MethodNotAllowed | Kind::Conflict | Kind::TooLarge => None,
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::{EntryId, ids::Id as _, problem::codes, stream::ServerFrame};
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 3] =
        [message::SERVER_OUTGOING, message::RUNTIME_ASSIGNMENT, message::CONNECTION_UPGRADE];

    fn entries(kinds: &[usize]) -> Vec<Entry> {
        let entry = |(index, kind): (usize, &usize)| Entry {
            id: EntryId::from_i64(i64::try_from(index).unwrap() + 1).unwrap(),
            qualifier: WORDS[*kind],
            body: r#"{ "message":1.0 }"#.into(),
        };
        kinds.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn what_waits_is_one_frame_and_nothing_is_none() {
        assert!(incoming(&[]).is_empty());
        let frames = incoming(&entries(&[0, 1, 0]));
        assert_eq!(frames.len(), 1);
        assert!(frames[0].contains(r#""body":{ "message":1.0 }"#), "byte for byte");
    }

    #[test]
    fn the_number_of_a_bad_frame_is_read_if_it_can_be() {
        let number = |text| read(text).map(drop).unwrap_err().0;
        assert_eq!(number(r#"{"request":7,"outgoing_messages":5}"#), Some(SenderSeq(7)));
        for text in ["{", "[1]", "5", r#"{"request":-1}"#, r#"{"outgoing_messages":5}"#] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_what_clients_read() {
        let read = |text: &str| serde_json::from_str::<ServerFrame>(text).unwrap();
        let frame = read(&accepted(Some(SenderSeq(9)), Some(SenderSeq(3))));
        assert_eq!((frame.accepted, frame.request), (Some(SenderSeq(9)), Some(SenderSeq(3))));
        assert!(accepted(None, None) == r#"{"accepted":null}"#);
        let problem = codes::WRONG_REQUEST.detail("a \"word\"");
        let frame = read(&refused(&problem, None, "r-1"));
        let error = frame.error.unwrap();
        assert_eq!((error.status, error.body.detail.as_str()), (400, "a \"word\""));
        assert_eq!(error.body.request_id, "r-1");
    }

    proptest! {
        #[test]
        fn every_entry_is_in_one_frame_in_order_and_no_frame_has_an_assignment_and_an_upgrade(
            kinds in prop::collection::vec(0usize..3, 0..20),
        ) {
            let frames = incoming(&entries(&kinds));
            let mut seen = Vec::new();
            for frame in frames {
                let both = WORDS[1..].iter().all(|it| frame.contains(it));
                prop_assert!(!both, "{frame}");
                let frame: ServerFrame = serde_json::from_str(&frame).unwrap();
                prop_assert!(!frame.incoming_messages.is_empty());
                seen.extend(frame.incoming_messages.iter().map(|it| it.id.get()));
            }
            prop_assert_eq!(seen, (1..=i64::try_from(kinds.len()).unwrap()).collect::<Vec<_>>());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
