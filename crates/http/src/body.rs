//! Bodies of requests: read within a bound, decoded leniently where existing clients need it,
//! validated.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use omgservers_api::{Problem, Validate, problem::codes};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{auth::services, problem::HttpProblem};

/// Deepest nesting of lists and objects. Deeper ones are an attack on whoever reads them.
const MOST_DEPTH: usize = 120;

/// A body as it came, of type JSON and within the bound.
pub(crate) struct RawBody(pub(crate) Bytes);

/// A decoded and validated body.
pub(crate) struct JsonBody<T>(pub(crate) T);

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, HttpProblem>>>>;

impl FromRequest for RawBody {
    type Error = HttpProblem;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_head(request);
        let payload = payload.take();
        Box::pin(async move {
            let limit = checked?;
            Ok(Self(read(payload, limit).await?))
        })
    }
}

impl<T: DeserializeOwned + Validate + 'static> FromRequest for JsonBody<T> {
    type Error = HttpProblem;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let raw = RawBody::from_request(request, payload);
        Box::pin(async move {
            let RawBody(bytes) = raw.await?;
            let decoded: T = decode(&bytes)?;
            decoded.validate()?;
            Ok(Self(decoded))
        })
    }
}

/// The content type is JSON, or not said; the announced length is within the bound.
fn check_head(request: &HttpRequest) -> Result<usize, Problem> {
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
        let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(codes::WRONG_MEDIA_TYPE.detail(format!("expected application/json, not {essence:?}")));
        }
    }
    let limit = services(request)?.body_limit;
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if announced.is_some_and(|it: usize| it > limit) {
        return Err(too_large(limit));
    }
    Ok(limit)
}

async fn read(mut payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    let mut whole: Option<BytesMut> = None;
    let mut first = Bytes::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|it| codes::WRONG_REQUEST.detail(format!("the body broke off: {it}")))?;
        let so_far = whole.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + chunk.len() > limit {
            return Err(too_large(limit));
        }
        // Most bodies come in one piece, which isn't copied.
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => whole = Some([first.as_ref(), chunk.as_ref()].concat().as_slice().into()),
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

fn too_large(limit: usize) -> Problem {
    codes::TOO_LARGE.detail(format!("the body must have at most {limit} bytes"))
}

/// Decodes a body. An empty one, `null` and `[]` (how Lua writes an empty table) stand for an
/// object without fields. The problem names the field and the reason.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let bytes = match bytes.trim_ascii() {
        b"" | b"null" | b"[]" => b"{}",
        other => other,
    };
    if bytes.first() != Some(&b'{') {
        // serde would take a list for an object whose fields come in order.
        return Err(codes::WRONG_REQUEST.detail("expected an object"));
    }
    if deeper_than(bytes, MOST_DEPTH) {
        return Err(codes::WRONG_REQUEST.detail(format!("nested deeper than {MOST_DEPTH} levels")));
    }
    // All of it, also what is passed over.
    let text = std::str::from_utf8(bytes)
        .map_err(|error| codes::WRONG_REQUEST.detail(format!("the body isn't UTF-8: {error}")))?;
    serde_json::from_str(text).map_err(|error| {
        // Only now the path is worth its price.
        let mut reader = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Err(at) if at.path().iter().len() > 0 => {
                codes::WRONG_REQUEST.detail(format!("`{}`: {}", at.path(), at.inner()))
            }
            _ => codes::WRONG_REQUEST.detail(error.to_string()),
        }
    })
}

/// Whether brackets outside of strings are nested deeper than `most`.
fn deeper_than(json: &[u8], most: usize) -> bool {
    // Hardly a body has so many that it could be, and to count them all takes far less time than to
    // follow them.
    if json.iter().filter(|it| matches!(it, b'[' | b'{')).count() <= most {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use omgservers_api::{
        entrypoint::{Empty, player::CreateClientRequest, support::CreateTenantAliasRequest},
        interchange::PlayerInterchangeRequest,
    };
    use proptest::prelude::*;

    use super::*;

    fn refusal<'a, T: Deserialize<'a>>(body: &'a str) -> String {
        decode::<T>(body.as_bytes()).err().unwrap().sentence().to_owned()
    }

    #[test]
    fn what_existing_clients_send_for_nothing_is_nothing() {
        for body in ["", " ", "{}", "[]", "null", r#"{"__object":true}"#] {
            decode::<Empty>(body.as_bytes()).unwrap();
        }
        assert!(decode::<Empty>(b"5").is_err());
        assert!(refusal::<CreateClientRequest>("").contains("tenant"));
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let wrong = refusal::<CreateTenantAliasRequest>(r#"{"tenant_id":"x","alias":"a"}"#);
        assert!(wrong.contains("`tenant_id`"), "{wrong}");
        let wrong = refusal::<PlayerInterchangeRequest<'_>>(
            r#"{"client_id":1,"outgoing_messages":[{"qualifier":5}],"consumed_messages":[]}"#,
        );
        assert!(wrong.contains("outgoing_messages"), "{wrong}");
    }

    #[test]
    fn what_is_not_utf_8_is_refused_also_where_nobody_reads_it() {
        let refused = decode::<Empty>(b"{\"unknown\":\"\xff\"}").unwrap_err();
        assert!(refused.sentence().contains("UTF-8"), "{refused}");
    }

    #[test]
    fn deep_nesting_is_refused_wherever_it_is() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let body = |depth| {
            format!(
                r#"{{"client_id":1,"outgoing_messages":[{{"qualifier":"x","body":{}}}],"consumed_messages":[]}}"#,
                nested(depth)
            )
        };
        assert!(decode::<PlayerInterchangeRequest<'_>>(body(100).as_bytes()).is_ok());
        assert!(decode::<PlayerInterchangeRequest<'_>>(body(200_000).as_bytes()).is_err());
        assert!(!deeper_than(br#"{"a":"[[[[[[[\"[[[["}"#, 2), "brackets in strings don't count");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<PlayerInterchangeRequest<'_>>(&bytes);
            let _ = decode::<CreateClientRequest>(&bytes);
            let _ = decode::<Empty>(&bytes);
        }
    }
}
