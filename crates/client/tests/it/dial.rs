//! A backend whose WebSockets a test holds in its hand. Everything else a [`FakeBackend`] answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_client::fake::{FakeBackend, ReceivedRequest, Reply};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

const LONG: Duration = Duration::from_secs(10);

/// The backend.
pub(crate) struct Dial {
    pub(crate) url: String,
    pub(crate) fake: FakeBackend,
    calls: mpsc::UnboundedReceiver<Call>,
    pub(crate) refused: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

/// A WebSocket that a client has opened.
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) protocol: String,
    socket: WebSocketStream<TcpStream>,
}

impl Dial {
    /// `refuse` answers a handshake, by its number, with something else: a whole HTTP answer.
    pub(crate) async fn start(
        answer: impl Fn(&ReceivedRequest, usize) -> Reply + Send + Sync + 'static,
        refuse: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let fake = FakeBackend::start(answer).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let host = fake.url.strip_prefix("http://").unwrap().to_owned();
        let (sender, calls) = mpsc::unbounded_channel();
        let refused = Arc::new(AtomicUsize::new(0));
        let (refuse, count) = (Arc::new(refuse), Arc::clone(&refused));
        let listener = tokio::spawn(async move {
            let number = Arc::new(AtomicUsize::new(0));
            while let Ok((socket, _)) = listener.accept().await {
                let (refuse, count, number) = (Arc::clone(&refuse), Arc::clone(&count), Arc::clone(&number));
                let (sender, host) = (sender.clone(), host.clone());
                tokio::spawn(async move {
                    let refuse = || {
                        let refusal = refuse(number.fetch_add(1, Ordering::SeqCst));
                        count.fetch_add(usize::from(refusal.is_some()), Ordering::SeqCst);
                        refusal
                    };
                    serve(socket, &host, refuse, &sender).await;
                });
            }
        });
        Self { url, fake, calls, refused, listener }
    }

    /// The next WebSocket.
    pub(crate) async fn call(&mut self) -> Call {
        timeout(LONG, self.calls.recv()).await.expect("nobody calls").unwrap()
    }

    /// Nobody calls for a while.
    pub(crate) async fn is_silent(&mut self) {
        assert!(timeout(Duration::from_millis(150), self.calls.recv()).await.is_err(), "somebody calls");
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    mut socket: TcpStream,
    host: &str,
    refuse: impl Fn() -> Option<String>,
    calls: &mpsc::UnboundedSender<Call>,
) {
    let mut head = [0; 4_096];
    let many = socket.peek(&mut head).await.unwrap();
    if !String::from_utf8_lossy(&head[..many]).to_lowercase().contains("upgrade: websocket") {
        pass(socket, host).await;
        return;
    }
    if let Some(refusal) = refuse() {
        let _gone = socket.write_all(refusal.as_bytes()).await;
        let _gone = socket.shutdown().await;
        return;
    }
    let mut seen = None;
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let check = |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let protocol = header("sec-websocket-protocol").unwrap_or_default();
        response.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let token = header("authorization").and_then(|it| it.strip_prefix("Bearer ").map(str::to_owned));
        seen = Some((request.uri().to_string(), token, protocol));
        Ok(response)
    };
    let socket = accept_hdr_async(socket, check).await.unwrap();
    let (path, token, protocol) = seen.unwrap();
    let _gone = calls.send(Call { path, token, protocol, socket });
}

/// Leads a connection to the fake, for one request: the next one may ask for a WebSocket.
async fn pass(mut socket: TcpStream, host: &str) {
    let mut fake = TcpStream::connect(host).await.unwrap();
    let ((mut from, mut to), (mut answer, mut request)) = (socket.split(), fake.split());
    let answers = async {
        let mut start = [0; 512];
        let many = answer.read(&mut start).await?;
        let start = String::from_utf8_lossy(&start[..many]).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        to.write_all(start.as_bytes()).await?;
        copy(&mut answer, &mut to).await
    };
    tokio::select! {
        _ended = answers => {}
        _ended = copy(&mut from, &mut request) => {}
    }
}

impl Call {
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next message that carries something.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            match timeout(LONG, self.socket.next()).await.expect("nothing comes") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        serde_json::from_str(self.message().await.unwrap().to_text().unwrap()).unwrap()
    }

    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _gone = self.socket.close(Some(frame)).await;
        // The client has to have it before the connection goes.
        while let Ok(Some(Ok(_))) = timeout(Duration::from_secs(1), self.socket.next()).await {}
    }
}
