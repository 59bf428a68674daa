//! How a session reaches the backend: over a stream, and by requests where a stream can't be had.

use std::{sync::Arc, time::Duration};

use omgservers_api::{
    Kind, Problem,
    entrypoint::{Endpoint as _, player},
    interchange::{MAX_WAIT_MS, PlayerInterchangeResponse},
    stream::close,
};
use tokio::time::Instant;

use super::{
    Player,
    state::SessionState,
    stream::{PlayerStream, StreamEnd},
};
use crate::{
    http::transient,
    problems::REPLACED,
    retry::{Attempts, Retry},
    socket::SocketRefusal,
};

/// How long it polls when a stream can't be had, before it tries one again; each time twice as
/// long.
const FIRST_POLLING: Duration = Duration::from_secs(30);
const MOST_POLLING: Duration = Duration::from_secs(600);
/// Streams that carry nothing before it polls instead.
const MOST_BARREN: u32 = 3;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Over a WebSocket, at once; by requests as long as no WebSocket can be had.
    #[default]
    Stream,
    /// By requests that wait for messages.
    Polling,
}

/// What is under way between a session and the backend.
pub(super) struct SessionTransport {
    player: Player,
    shared: Arc<SessionState>,
    pub(super) retry: Retry,
    pub(super) transport: Transport,
    link: Option<PlayerStream>,
    /// Failures of streams in a row.
    attempts: Option<Attempts>,
    barren: u32,
    /// No stream is opened before this.
    not_before: Option<Instant>,
    /// The token was refused.
    stale: bool,
    /// The token was renewed and no stream has proven it.
    renewed: bool,
    polling: Option<Polling>,
    /// The backend has said that there is nothing more to come.
    pub(super) over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Polling {
    until: Instant,
    length: Duration,
}

impl SessionTransport {
    pub(super) fn new(player: Player, shared: Arc<SessionState>) -> Self {
        Self {
            player,
            shared,
            retry: Retry::PLAYER,
            transport: Transport::default(),
            link: None,
            attempts: None,
            barren: 0,
            not_before: None,
            stale: false,
            renewed: false,
            polling: None,
            over: false,
        }
    }

    pub(super) fn player(&self) -> &Player {
        &self.player
    }

    /// Ends the stream.
    pub(super) fn close(&mut self) {
        self.link = None;
    }

    /// Makes sure that there is a stream; `false` when it is to be polled instead, or when
    /// everything is over.
    pub(super) async fn streams(&mut self) -> Result<bool, Problem> {
        loop {
            if self.over || self.polls() {
                return Ok(false);
            }
            // Each step stays to be done when this is dropped in it.
            if let Some(at) = self.not_before {
                tokio::time::sleep_until(at).await;
                self.not_before = None;
            }
            if self.stale {
                self.renew().await?;
                continue;
            }
            let link = self.link.get_or_insert_with(|| {
                let player = &self.player;
                PlayerStream::open(player.client.clone(), &self.shared, player.token())
            });
            link.opening().await;
            let Some(ended) = link.ended() else { return Ok(true) };
            self.link = None;
            match ended {
                StreamEnd::Refused(refusal) => self.refused(refusal)?,
                StreamEnd::Closed { code, problem, good } => self.closed(code, problem, good)?,
            }
        }
    }

    /// Waits until something has come, or the stream has ended.
    pub(super) async fn change(&mut self) {
        let Some(link) = &mut self.link else { return };
        tokio::select! {
            () = self.shared.incoming.notified() => {}
            () = link.wait() => {}
        }
    }

    fn polls(&self) -> bool {
        self.transport == Transport::Polling || self.polling.is_some_and(|it| Instant::now() < it.until)
    }

    /// Polls for a while.
    fn poll_for_a_while(&mut self) {
        let length = self.polling.map_or(FIRST_POLLING, |it| it.length.saturating_mul(2).min(MOST_POLLING));
        self.polling = Some(Polling { until: Instant::now() + length, length });
        (self.attempts, self.barren, self.not_before) = (None, 0, None);
        self.shared.rewind();
    }

    /// What follows when no stream was to be had.
    fn refused(&mut self, refusal: SocketRefusal) -> Result<(), Problem> {
        match refusal {
            SocketRefusal::NoSockets(_) => {
                self.poll_for_a_while();
                Ok(())
            }
            SocketRefusal::Answered(problem) if problem.kind() == Kind::Unauthenticated => {
                self.token(problem)
            }
            SocketRefusal::Answered(problem) | SocketRefusal::Unreachable(problem) => self.pause(problem),
        }
    }

    /// What follows from the end of a stream.
    fn closed(&mut self, code: Option<u16>, problem: Problem, good: bool) -> Result<(), Problem> {
        if good {
            (self.attempts, self.barren, self.renewed, self.polling) = (None, 0, false, None);
        } else {
            self.barren = self.barren.saturating_add(1);
        }
        match code {
            Some(close::OVER) => {
                self.over = true;
                Ok(())
            }
            Some(close::REPLACED) => Err(REPLACED.into()),
            Some(close::FOREIGN | close::UNKNOWN) => Err(problem),
            Some(close::TOKEN) => self.token(problem),
            // The refusal waits to be handed on.
            Some(close::TOO_LARGE) => Ok(()),
            _ if self.barren >= MOST_BARREN => {
                self.poll_for_a_while();
                Ok(())
            }
            _ => self.pause(problem),
        }
    }

    /// The token was refused: another one may do, once.
    fn token(&mut self, problem: Problem) -> Result<(), Problem> {
        if std::mem::take(&mut self.renewed) || !self.player.renews() {
            return Err(problem);
        }
        self.stale = true;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Problem> {
        match Box::pin(self.player.renew_token()).await {
            Err(problem) if transient(&problem) => self.pause(problem),
            renewed => {
                (self.stale, self.renewed) = (false, renewed.is_ok());
                renewed
            }
        }
    }

    /// A pause before the next stream.
    fn pause(&mut self, problem: Problem) -> Result<(), Problem> {
        let retry = self.retry;
        match self.attempts.get_or_insert_with(|| retry.start()).next(problem) {
            Ok(pause) => {
                self.not_before = Some(Instant::now() + pause);
                Ok(())
            }
            Err(problem) => {
                // The next call begins a new series of attempts.
                self.attempts = None;
                Err(problem)
            }
        }
    }

    /// One request, repeated until it is answered. Its future is large, and the game's shouldn't
    /// be.
    pub(super) async fn poll(&mut self, wait: Duration) -> Result<(), Problem> {
        Box::pin(self.request(wait)).await
    }

    async fn request(&mut self, wait: Duration) -> Result<(), Problem> {
        let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
        let (body, consumed) = self.shared.request(milliseconds)?;
        let wait = Duration::from_millis(milliseconds.into());
        let mut attempts = self.retry.start();
        let mut renewed = false;
        loop {
            let token = self.player.token();
            let client = &self.player.client;
            let answer: Result<PlayerInterchangeResponse, Problem> = client
                .exchange(&player::Interchange::DESCRIPTOR, Some(token.as_str()), body.clone(), wait)
                .await;
            match answer {
                Ok(answer) => {
                    self.shared.settle(consumed, answer);
                    return Ok(());
                }
                Err(problem) if problem.kind() == Kind::Unauthenticated && !renewed => {
                    renewed = true;
                    if let Err(problem) = self.player.renew(problem).await {
                        renewed = false;
                        attempts.pause(problem).await?;
                    }
                }
                Err(problem) => {
                    if !transient(&problem) && problem.kind() != Kind::Unauthenticated {
                        self.shared.give_up();
                    }
                    attempts.pause(problem).await?;
                }
            }
        }
    }
}
