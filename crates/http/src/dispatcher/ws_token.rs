//! How a token comes: clients of all kinds can't do the same.

use std::borrow::Cow;

use actix_web::{
    HttpRequest,
    http::header,
    web::{self, Query},
};
use omgservers_api::{
    Problem,
    dispatcher::{CARRIED_AUTHORIZATION as CARRIED, CARRIER_SUB_PROTOCOL as CARRIER, SUB_PROTOCOL as OURS},
    problem::codes,
};
use serde::Deserialize;

use crate::websocket;

/// A token, and the sub-protocol to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WsToken {
    pub(super) token: String,
    pub(super) protocol: Option<&'static str>,
}

#[derive(Deserialize)]
struct Parameters {
    ws_token: Option<String>,
}

impl WsToken {
    /// The token of the query parameter `ws_token`, of the header `Authorization`, or of a
    /// sub-protocol. Problems: 401 without one.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let offered: Vec<&str> = websocket::offered(request).collect();
        let protocol = [CARRIER, OURS].into_iter().find(|it| offered.contains(it));
        let query = web::Query::<Parameters>::from_query(request.query_string());
        let token = query
            .ok()
            .and_then(|Query(it)| it.ws_token)
            .or_else(|| bearer(request.headers().get(header::AUTHORIZATION)?.to_str().ok()?))
            .or_else(|| carried(&offered))
            .filter(|it| !it.is_empty());
        Ok(Self { token: token.ok_or(codes::NO_CREDENTIALS)?, protocol })
    }
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// `bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20<token>`.
fn carried(offered: &[&str]) -> Option<String> {
    if !offered.contains(&CARRIER) {
        return None;
    }
    let decoded =
        |it: &&str| percent_encoding::percent_decode_str(it).decode_utf8().ok().map(Cow::into_owned);
    offered.iter().filter_map(decoded).find_map(|it| bearer(it.strip_prefix(CARRIED)?))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(query: &str, headers: &[(&str, &str)]) -> Option<(String, Option<&'static str>)> {
        let mut request = TestRequest::with_uri(&format!("/endpoint{query}"));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let ws_token = WsToken::of(&request.to_http_request()).ok()?;
        Some((ws_token.token, ws_token.protocol))
    }

    #[test]
    fn a_token_comes_in_four_forms() {
        let found = |token: &str, protocol| Some((token.to_owned(), protocol));
        assert_eq!(of("?ws_token=a.b-c_d", &[]), found("a.b-c_d", None));
        let protocol = ("Sec-WebSocket-Protocol", "omgservers");
        assert_eq!(of("?other=1&ws_token=abc", &[protocol]), found("abc", Some(OURS)));
        assert_eq!(of("", &[("Authorization", "Bearer abc"), protocol]), found("abc", Some(OURS)));
        for carrier in [
            "bearer-token-carrier, quarkus-http-upgrade#Authorization#Bearer%20abc",
            "bearer-token-carrier,quarkus-http-upgrade%23Authorization%23Bearer%20abc",
            "quarkus-http-upgrade%23Authorization%23bearer%20abc , bearer-token-carrier",
        ] {
            assert_eq!(
                of("", &[("Sec-WebSocket-Protocol", carrier)]),
                found("abc", Some(CARRIER)),
                "{carrier}"
            );
        }
        let carrier = ("Sec-WebSocket-Protocol", "quarkus-http-upgrade%23Authorization%23Bearer%20abc");
        assert_eq!(
            of("", &[protocol, ("Sec-WebSocket-Protocol", CARRIER), carrier]),
            found("abc", Some(CARRIER))
        );
    }

    #[test]
    fn an_unknown_protocol_is_not_chosen() {
        assert_eq!(
            of("?ws_token=abc", &[("Sec-WebSocket-Protocol", "chat, soap")]),
            Some(("abc".to_owned(), None))
        );
    }

    #[test]
    fn a_request_without_a_token_is_refused() {
        let carrier = "Sec-WebSocket-Protocol";
        for (query, headers) in [
            ("", vec![]),
            ("?ws_token=", vec![]),
            ("?token=abc", vec![]),
            ("", vec![("Authorization", "Basic abc")]),
            ("", vec![(carrier, "bearer-token-carrier")]),
            ("", vec![(carrier, "bearer-token-carrier, quarkus-http-upgrade#Authorization#abc")]),
            ("", vec![(carrier, "bearer-token-carrier, %FF%FE")]),
            ("", vec![(carrier, "quarkus-http-upgrade%23Authorization%23Bearer%20abc")]),
        ] {
            assert_eq!(of(query, &headers), None, "{query} {headers:?}");
        }
    }
}
