//! WebSockets over the connections of [`Client`]: the same addresses, the same TLS, the same
//! proxies.

use std::{future::Future, time::Duration};

use omgservers_api::{Kind, Problem, problem::UNAVAILABLE};
use reqwest::{StatusCode, Upgraded, Version, header};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    http::{Client, retry_after},
    problems::FOREIGN_ANSWER,
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The largest message that is received.
const MOST_BYTES: usize = 64 << 20;

/// An open WebSocket.
pub(crate) type UpgradedSocket = WebSocketStream<Upgraded>;

/// Why there is no WebSocket.
#[derive(Debug)]
pub(crate) enum SocketRefusal {
    /// Nobody was reached.
    Unreachable(Problem),
    /// The backend said why.
    Answered(Problem),
    /// Something on the way doesn't let WebSockets pass, or the backend knows none at this path.
    NoSockets(Problem),
}

impl From<SocketRefusal> for Problem {
    fn from(refusal: SocketRefusal) -> Self {
        match refusal {
            SocketRefusal::Unreachable(problem)
            | SocketRefusal::Answered(problem)
            | SocketRefusal::NoSockets(problem) => problem,
        }
    }
}

impl Client {
    /// Opens a WebSocket at a path of the backend. The token travels in a header.
    pub(crate) async fn socket(
        &self,
        path: &str,
        protocol: &'static str,
        token: &str,
    ) -> Result<UpgradedSocket, SocketRefusal> {
        let stalled = |_| {
            let sentence = format!("{} didn't open a WebSocket in time", self.base_url());
            SocketRefusal::NoSockets(UNAVAILABLE.detail(sentence))
        };
        tokio::time::timeout(HANDSHAKE, self.shake_hands(path, protocol, token)).await.map_err(stalled)?
    }

    async fn shake_hands(
        &self,
        path: &str,
        protocol: &'static str,
        token: &str,
    ) -> Result<UpgradedSocket, SocketRefusal> {
        let key = generate_key();
        let request = self
            .0
            .http
            .get(format!("{}{path}", self.base_url()))
            .version(Version::HTTP_11)
            .bearer_auth(token)
            // The whole value of the header: some proxies and servers look for nothing else.
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        let answer = request.send().await.map_err(|it| SocketRefusal::Unreachable(self.unreachable(it)))?;
        let status = answer.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let pause = retry_after(answer.headers());
            let body = answer.bytes().await.map_err(|it| SocketRefusal::Unreachable(self.unreachable(it)))?;
            return Err(judged(self.refusal(status.as_u16(), &body, pause)));
        }
        let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT).and_then(|it| it.to_str().ok());
        if accepted != Some(derive_accept_key(key.as_bytes()).as_str()) {
            let sentence = format!("{} switched to something that is no WebSocket", self.base_url());
            return Err(SocketRefusal::NoSockets(FOREIGN_ANSWER.detail(sentence)));
        }
        let upgraded =
            answer.upgrade().await.map_err(|it| SocketRefusal::Unreachable(self.unreachable(it)))?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MOST_BYTES)).max_frame_size(Some(MOST_BYTES));
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }
}

/// An answer that isn't the backend's comes from something on the way. The backend answers 400, 404
/// or 405 when something has taken the handshake out, or when it is older than its streams.
fn judged(problem: Problem) -> SocketRefusal {
    let old = matches!(problem.kind(), Kind::Invalid | Kind::NotFound | Kind::MethodNotAllowed);
    if old || problem.is(FOREIGN_ANSWER) {
        SocketRefusal::NoSockets(problem)
    } else {
        SocketRefusal::Answered(problem)
    }
}

/// The problem of a WebSocket that broke.
pub(crate) fn broken(error: Option<Error>) -> Problem {
    let reason = error.map_or_else(|| "it was closed".to_owned(), |it| it.to_string());
    UNAVAILABLE.detail(format!("the WebSocket broke: {reason}"))
}

/// Runs two halves of a connection until one ends. When the writing half does, the reading half has
/// a moment to tell the reason, which the other side may have sent before it closed.
pub(crate) async fn halves<T>(
    reads: impl Future<Output = T>,
    writes: impl Future<Output = Error>,
    on_error: impl FnOnce(Error) -> T,
) -> T {
    tokio::pin!(reads);
    let error = tokio::select! {
        read = &mut reads => return read,
        error = writes => error,
    };
    let moment = tokio::time::timeout(Duration::from_secs(1), reads).await;
    moment.unwrap_or_else(|_elapsed| on_error(error))
}
