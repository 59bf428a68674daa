//! Transport of WebSockets: the handshake, and a connection's bytes in and out.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::ws;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::Payload,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use omgservers_api::{Problem, problem::codes};
use omgservers_ws::{Decoder, Limits, Message, Violation};
use tokio::sync::mpsc;

/// Time for which the rest of a message that is too large is read and discarded. Closing a socket
/// with unread bytes resets it, and the reset can overtake the last frames to the client.
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(1);
/// Most frames that wait for the socket.
const MAX_QUEUED_FRAMES: usize = 32;

/// Verifies the handshake. Problems: 400 when it isn't one.
pub(crate) fn verify(request: &HttpRequest) -> Result<(), Problem> {
    ws::verify_handshake(request.head())
        .map_err(|it| codes::WRONG_REQUEST.detail(format!("no handshake of a WebSocket: {it}")))
}

/// Answers a verified handshake with 101; `body` produces the frames for the client.
///
/// The SDK's engine compares the whole value of `Connection` with `Upgrade`, as it is written here.
pub(crate) fn accept(
    request: &HttpRequest,
    protocol: Option<&'static str>,
    body: impl MessageBody + 'static,
) -> HttpResponse<BoxBody> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = ws::hash_key(key.unwrap_or_default());
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, &accept[..]));
    if let Some(protocol) = protocol {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let mut response = response.body(body);
    response.head_mut().set_camel_case_headers(true);
    response
}

/// Returns the sub-protocols that a request offers.
pub(crate) fn offered(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    headers.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).map(str::trim)
}

/// Messages of a client.
pub(crate) struct IncomingMessages {
    payload: Payload,
    decoder: Decoder,
}

impl IncomingMessages {
    pub(crate) fn new(payload: Payload, limits: Limits) -> Self {
        Self { payload, decoder: Decoder::new(limits) }
    }

    /// Receives the next message; `None` when the connection has ended. Cancel-safe. After a
    /// violation the only use is [`discard`](Self::discard).
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Violation>> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(message)) => return Some(Ok(message)),
                Err(violation) => return Some(Err(violation)),
                Ok(None) => {}
            }
            let Some(Ok(bytes)) = self.payload.next().await else { return None };
            self.decoder.feed(&bytes);
        }
    }

    /// Reads and discards in the background for [`DISCARD_TIME`]. Nothing is received afterwards.
    pub(crate) fn discard(&mut self) {
        let mut rest = std::mem::replace(&mut self.payload, Payload::None);
        actix_web::rt::spawn(async move {
            let discarded = async { while let Some(Ok(_)) = rest.next().await {} };
            let _in_time = tokio::time::timeout(DISCARD_TIME, discarded).await;
        });
    }
}

/// Creates a queue of encoded frames and the body that writes them. The connection ends when the
/// sender is dropped and the queue is written.
pub(crate) fn outgoing() -> (mpsc::Sender<Bytes>, impl MessageBody + 'static) {
    let (sender, frames) = mpsc::channel(MAX_QUEUED_FRAMES);
    (sender, QueuedFrames(frames))
}

struct QueuedFrames(mpsc::Receiver<Bytes>);

impl MessageBody for QueuedFrames {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.0.poll_recv(cx).map(|it| it.map(Ok))
    }
}
