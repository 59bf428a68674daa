//! A backend with scripted answers, for tests of programs that use this crate. It has no
//! WebSockets: players poll.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// Its path.
    pub path: String,
    /// What stood behind `Bearer`.
    pub token: Option<String>,
    /// The value of `traceparent`.
    pub trace_parent: Option<String>,
    /// Its body.
    pub body: String,
}

impl ReceivedRequest {
    /// The last part of the path.
    pub fn verb(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and a body.
    Body(u16, String),
    /// A status, a further header line and a body.
    With(u16, &'static str, String),
    /// The connection ends without an answer.
    Close,
    /// No answer ever comes.
    Hang,
}

impl Reply {
    /// 200 and a value.
    pub fn ok(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Self::Body(200, body),
            Err(error) => Self::Body(500, error.to_string()),
        }
    }
    /// A problem as the backend writes it.
    pub fn problem(status: u16, qualifier: &str, code: &str, detail: &str) -> Self {
        let body =
            serde_json::json!({"qualifier": qualifier, "code": code, "detail": detail, "request_id": "r-1"});
        Self::Body(status, body.to_string())
    }
}

/// A running fake; it ends when it is dropped.
#[derive(Debug)]
pub struct FakeBackend {
    /// Its address, for [`Client::new`](crate::Client::new).
    pub url: String,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    task: JoinHandle<()>,
}

type AnswerFn = dyn Fn(&ReceivedRequest, usize) -> Reply + Send + Sync;

impl FakeBackend {
    /// Starts on a free port. `answer` gets each request with its number, from 0.
    pub async fn start(
        answer: impl Fn(&ReceivedRequest, usize) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<AnswerFn> = Arc::new(answer);
        let task = tokio::spawn({
            let received = received.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, received.clone(), answer.clone()));
                }
            }
        });
        Ok(Self { url, received, task })
    }

    /// What came so far.
    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    all: Arc<Mutex<Vec<ReceivedRequest>>>,
    answer: Arc<AnswerFn>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((request, upgrades)) = read(&mut stream).await? {
        if upgrades {
            write(&mut stream, 404, "Content-Type: text/plain", "no WebSockets here").await?;
            continue;
        }
        let number = {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(request.clone());
            all.len() - 1
        };
        let (status, header, body) = match answer(&request, number) {
            Reply::Body(status, body) => (status, "Content-Type: application/json", body),
            Reply::With(status, header, body) => (status, header, body),
            Reply::Close => return Ok(()),
            Reply::Hang => std::future::pending().await,
        };
        write(&mut stream, status, header, &body).await?;
    }
    Ok(())
}

async fn write(stream: &mut BufReader<TcpStream>, status: u16, header: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} Answer\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

/// A request, and whether it asks for a WebSocket.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(ReceivedRequest, bool)>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut token, mut trace_parent, mut length, mut upgrades) = (None, None, 0, false);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("authorization") {
            token = value.strip_prefix("Bearer ").map(str::to_owned);
        } else if name.eq_ignore_ascii_case("traceparent") {
            trace_parent = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("upgrade") {
            upgrades = true;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Some((ReceivedRequest { path, token, trace_parent, body }, upgrades)))
}
