//! Answers of the interchange, written by hand: bodies pass byte for byte, and an empty answer
//! costs nothing.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use bytes::Bytes;
use omgservers_messaging::Entry;

/// `{"<name>":[{"id":…,"qualifier":…,"body":…},…]<rest>}`. `name` and qualifiers are our own words
/// and need no escape; `rest` is empty or begins with a comma.
pub(crate) fn answer(name: &'static str, entries: &[Entry], rest: &str) -> HttpResponse {
    let body = match (name, entries.is_empty() && rest.is_empty()) {
        ("incoming_messages", true) => Bytes::from_static(br#"{"incoming_messages":[]}"#),
        ("incoming_commands", true) => Bytes::from_static(br#"{"incoming_commands":[]}"#),
        _ => write(name, entries, rest).into(),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(body)
}

pub(crate) fn write(name: &str, entries: &[Entry], rest: &str) -> String {
    use std::fmt::Write as _;
    let size: usize = entries.iter().map(|it| it.body.len() + it.qualifier.len() + 60).sum();
    let mut text = String::with_capacity(size + rest.len() + name.len() + 8);
    text.push_str("{\"");
    text.push_str(name);
    text.push_str("\":[");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        // Writing into a string doesn't fail.
        let _infallible = write!(
            text,
            r#"{{"id":"{}","qualifier":"{}","body":{}}}"#,
            entry.id, entry.qualifier, entry.body
        );
    }
    text.push(']');
    text.push_str(rest);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use omgservers_api::{EntryId, ids::Id as _, interchange::PlayerInterchangeResponse};

    use super::*;

    #[test]
    fn what_is_written_is_what_the_contract_defines() {
        let entry = |id: i64, body: &str| Entry {
            id: EntryId::from_i64(id).unwrap(),
            qualifier: "SERVER_OUTGOING_MESSAGE",
            body: body.into(),
        };
        let text = write("incoming_messages", &[entry(1, r#"{"message":"ä\""}"#), entry(2, "{}")], "");
        let read: PlayerInterchangeResponse = serde_json::from_str(&text).unwrap();
        assert_eq!(read.incoming_messages.len(), 2);
        assert_eq!(read.incoming_messages[0].body.get(), r#"{"message":"ä\""}"#);
        assert!(text.contains(r#""id":"1""#));
    }
}
