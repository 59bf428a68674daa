//! WebSockets without TLS.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, client::ClientRequestBuilder, http::Uri, protocol::WebSocketConfig},
};

use super::{CallFailure, Target, http::connect};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Many connections have one each.
const READ_BUFFER: usize = 8 * 1024;

/// An open WebSocket.
pub(crate) type ClientSocket = WebSocketStream<TcpStream>;

/// Opens a WebSocket at a path; `protocol` is what is offered.
pub(crate) async fn open(
    target: &Target,
    path: &str,
    protocol: &str,
    token: &str,
) -> Result<ClientSocket, CallFailure> {
    let uri: Uri = format!("ws://{}{path}", target.host).parse().map_err(CallFailure::foreign)?;
    let request = ClientRequestBuilder::new(uri)
        .with_header("authorization", format!("Bearer {token}"))
        .with_sub_protocol(protocol);
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let stream = connect(target).await?;
    let shaking = client_async_with_config(request, stream, Some(config));
    match tokio::time::timeout(HANDSHAKE, shaking).await {
        Ok(Ok((socket, _answer))) => Ok(socket),
        Ok(Err(Error::Http(answer))) => {
            let body = answer.body().as_deref().unwrap_or_default();
            Err(CallFailure::refused(answer.status().as_u16(), body, None))
        }
        Ok(Err(error)) => Err(CallFailure::broken(error)),
        Err(_elapsed) => Err(CallFailure::timeout()),
    }
}
