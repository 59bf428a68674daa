//! A player on a stream, with frames of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::{
    ids::SenderSeq,
    stream::{ClientFrame, PATH, SUB_PROTOCOL, ServerFrame, StreamError, close},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, handshake::client::Request},
};

use super::{
    Mode, Workload,
    card::Card,
    inbox::Inbox,
    outbox::{Outbox, Words},
    polling::renew,
};
use crate::rng::Rng;

type Socket = WebSocketStream<TcpStream>;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The backend pings every 15 s.
const MOST_IDLE: Duration = Duration::from_secs(45);
/// Most frames that weren't answered.
const MOST_FRAMES: usize = 16;

/// A frame that wasn't answered.
struct Frame {
    request: u64,
    words: Words,
    /// How often it was sent, and when it was sent last.
    attempts: u32,
    sent: Instant,
}

struct Streaming {
    workload: Arc<Workload>,
    card: Arc<Card>,
    rng: Rng,
    inbox: Inbox,
    outbox: Outbox,
    next_request: u64,
    frames: VecDeque<Frame>,
}

/// How a connection ended.
enum End {
    /// It broke, or was broken off.
    Broken,
    /// Another token is needed.
    Token,
    /// The session is over.
    Over(String),
    /// Everybody does something else.
    Mode,
}

/// Plays until it is over.
pub(crate) async fn play(workload: Arc<Workload>, card: Arc<Card>, rng: Rng) {
    let mut player = Streaming {
        workload,
        card,
        rng,
        inbox: Inbox::default(),
        outbox: Outbox::default(),
        next_request: 0,
        frames: VecDeque::new(),
    };
    while player.workload.mode() != Mode::Over && !player.card.over.load(Ordering::Acquire) {
        if player.stands_still() {
            player.workload.other_than(player.workload.mode()).await;
            continue;
        }
        match player.connect().await {
            End::Broken => tokio::time::sleep(player.rng.millis(50, 250)).await,
            End::Token => {
                renew(&player.workload, &player.card).await;
                tokio::time::sleep(player.rng.millis(50, 250)).await;
            }
            End::Over(why) => player.workload.log.add(player.card.ended(why)),
            End::Mode => {}
        }
    }
}

impl Streaming {
    fn stands_still(&self) -> bool {
        match self.workload.mode() {
            Mode::Still | Mode::FillPlayers | Mode::Over => true,
            Mode::FillGames => self.card.filled.load(Ordering::Acquire),
            Mode::Play | Mode::Rest => false,
        }
    }

    fn request(&self) -> Option<Request> {
        let (address, client) = (self.workload.address, self.card.client_id);
        let mut request = format!("ws://{address}{PATH}?client_id={client}").into_client_request().ok()?;
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", self.card.token()).parse().ok()?);
        headers.insert("sec-websocket-protocol", SUB_PROTOCOL.parse().ok()?);
        Some(request)
    }

    /// One connection, from its handshake to its end.
    async fn connect(&mut self) -> End {
        let Some(request) = self.request() else { return End::Over("no request can be made".to_owned()) };
        let address = self.workload.address;
        let shake = async {
            let stream = TcpStream::connect(address).await.map_err(Error::Io)?;
            stream.set_nodelay(true).map_err(Error::Io)?;
            client_async(request, stream).await
        };
        match timeout(HANDSHAKE, shake).await {
            Ok(Ok((socket, _))) => self.carry(socket).await,
            Ok(Err(Error::Http(answer))) if answer.status() == 401 => End::Token,
            Ok(Err(Error::Http(answer))) if answer.status().is_client_error() => {
                self.workload.odd(format!("a stream was refused with {}", answer.status()));
                End::Broken
            }
            Ok(Err(_)) | Err(_) => End::Broken,
        }
    }

    /// Repeats what wasn't answered, before anything new; then talks and listens.
    async fn carry(&mut self, mut socket: Socket) -> End {
        for at in 0..self.frames.len() {
            let Some(text) = self.frame_text(at) else { return End::Broken };
            if socket.send(Message::text(text)).await.is_err() {
                return End::Broken;
            }
        }
        let pace = u64::try_from(self.workload.pace.as_millis()).unwrap_or(100);
        let mut last_received = Instant::now();
        let mut turn = tokio::time::Instant::now();
        loop {
            let next = tokio::time::timeout_at(turn, socket.next()).await;
            let ended = match next {
                Ok(Some(Ok(message))) => {
                    last_received = Instant::now();
                    self.receive(message)
                }
                Ok(Some(Err(_)) | None) => Some(End::Broken),
                Err(_my_turn) => {
                    turn =
                        tokio::time::Instant::now() + self.rng.millis(pace / 3, pace.saturating_mul(5) / 3);
                    if last_received.elapsed() > MOST_IDLE {
                        Some(End::Broken)
                    } else {
                        self.talk(&mut socket).await
                    }
                }
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// The text of a frame that wasn't answered, which is about to be sent.
    fn frame_text(&mut self, at: usize) -> Option<String> {
        let frame = self.frames.get_mut(at)?;
        frame.attempts = frame.attempts.saturating_add(1);
        frame.sent = Instant::now();
        let filling = self.workload.mode() == Mode::FillGames;
        let consumed = if filling { Vec::new() } else { self.inbox.consumed().to_vec() };
        self.inbox.acknowledged(consumed.len());
        serde_json::to_string(&ClientFrame {
            outgoing_messages: frame.words.outgoing(),
            consumed_messages: consumed,
            request: Some(SenderSeq(frame.request)),
        })
        .ok()
    }

    /// Sends something, perhaps, and acknowledges. A frame without words is answered too, and
    /// shows that the player is served.
    async fn talk(&mut self, socket: &mut Socket) -> Option<End> {
        let drops = self.workload.drops.load(Ordering::Relaxed);
        if self.stands_still() {
            return Some(End::Mode);
        }
        if drops > 0 && self.rng.percent(drops.into()) {
            return Some(End::Broken);
        }
        if self.frames.len() >= MOST_FRAMES {
            return None;
        }
        let count = Outbox::appetite(&self.workload, &self.card, &mut self.rng);
        // When it fills, one frame says all.
        let count =
            if self.workload.mode() == Mode::FillGames && !self.frames.is_empty() { 0 } else { count };
        let words = self.outbox.send(&self.workload, &self.card, count);
        self.next_request = self.next_request.saturating_add(1);
        let frame = Frame { request: self.next_request, words, attempts: 0, sent: Instant::now() };
        self.frames.push_back(frame);
        let text = self.frame_text(self.frames.len().saturating_sub(1))?;
        socket.send(Message::text(text)).await.is_err().then_some(End::Broken)
    }

    fn receive(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Text(text) => match serde_json::from_str::<ServerFrame>(&text) {
                Ok(frame) => {
                    self.frame(frame);
                    None
                }
                Err(error) => {
                    self.workload.odd(format!("a stream sent {text}: {error}"));
                    Some(End::Broken)
                }
            },
            Message::Close(frame) => Some(match frame.map_or(0, |it| it.code.into()) {
                close::TOKEN => End::Token,
                code @ (close::OVER | close::UNKNOWN | close::FOREIGN) => {
                    End::Over(format!("the stream was closed with {code}"))
                }
                _ => End::Broken,
            }),
            _ => None,
        }
    }

    fn frame(&mut self, frame: ServerFrame) {
        let ServerFrame { incoming_messages, request, error, .. } = frame;
        self.inbox.receive(&self.workload, &self.card, &incoming_messages);
        let Some(SenderSeq(request)) = request else { return };
        match error {
            // It is sent again on the next stream.
            Some(StreamError { status, .. }) if status == 429 || status >= 500 => {}
            Some(StreamError { status, body }) => {
                self.workload
                    .odd(format!("client {} was refused with {status}: {}", self.card.client, body.detail));
                if let Some(frame) = self.frames.pop_front() {
                    Outbox::refused(&self.workload, &self.card, &frame.words, frame.attempts == 1);
                }
            }
            None => {
                while let Some(frame) = self.frames.pop_front_if(|it| it.request <= request) {
                    Outbox::taken(&self.workload, &self.card, &frame.words);
                    self.card.serve(frame.sent);
                    if self.workload.mode() == Mode::FillGames && !frame.words.is_empty() {
                        self.card.filled.store(true, Ordering::Release);
                    }
                }
            }
        }
    }
}
