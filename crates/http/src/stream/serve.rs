//! One stream from its handshake to its end.

use std::{future::ready, time::Duration};

use actix_web::{error::PayloadError, web::Data};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseReason, ProtocolError, Session};
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesOrdered};
use omgservers_api::{
    ClientId, EntryId, Kind, Problem, UserId, ids::SenderSeq, problem::codes, stream::close,
};
use omgservers_messaging::{
    Entry,
    problems::{CLIENT_NOT_FOUND, FOREIGN_CLIENT},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::{Parts, frames, open::Open};
use crate::{interchange::client_messages, websocket::THROWN_AWAY};

/// How often a client is pinged.
const PING: Duration = Duration::from_secs(15);
/// A client that was heard of within this time answers its pings.
const ANSWERS: Duration = Duration::from_secs(20);
/// A client that wasn't heard of for so long is gone: two pings went unanswered.
const GONE: Duration = Duration::from_secs(35);
/// How often a client that answers its pings shows the mailbox that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// Most frames whose commits are waited for; no further one is read before the first of them is safe.
const MOST_IN_FLIGHT: usize = 64;
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(20);
/// How long an end waits for the client, and for the last commits.
const FAREWELL: Duration = Duration::from_secs(1);

/// One stream.
pub(super) struct Connection {
    parts: Data<Parts>,
    session: Session,
    user: UserId,
    client: ClientId,
    token: String,
    request_id: String,
    /// The last entry that was sent.
    sent: Option<EntryId>,
    /// What becomes of the frames that came, in their order.
    outcomes: FuturesOrdered<LocalBoxFuture<'static, Outcome>>,
    /// No further frame is read: one was refused, and what came after it would overtake it.
    deaf: bool,
    /// When the client was last heard of.
    heard: Instant,
}

/// What became of a frame.
struct Outcome {
    request: Option<SenderSeq>,
    /// The frame's highest counter.
    accepted: Result<Option<SenderSeq>, Problem>,
}

/// How a stream ends.
enum End {
    /// The client is gone.
    Gone,
    /// The backend ends it.
    Close(u16, &'static str),
}

impl Connection {
    pub(super) fn new(
        parts: Data<Parts>,
        session: Session,
        (user, client): (UserId, ClientId),
        token: String,
        request_id: String,
    ) -> Self {
        Self {
            parts,
            session,
            user,
            client,
            token,
            request_id,
            sent: None,
            outcomes: FuturesOrdered::new(),
            deaf: false,
            heard: Instant::now(),
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self, mut messages: AggregatedMessageStream) {
        let end = match self.begin().await {
            Ok(open) => self.serve(&open, &mut messages).await,
            Err(end) => end,
        };
        let reason = match end {
            End::Gone => None,
            End::Close(code, why) => Some(CloseReason { code: code.into(), description: Some(why.into()) }),
        };
        let waits = reason.is_some();
        let closed = timeout(WRITE, self.session.close(reason)).await;
        if waits && matches!(closed, Ok(Ok(()))) {
            // The connection ends when this does; one that ends with something unread takes the farewell with it.
            let rest = async { while let Some(Ok(_)) = messages.recv().await {} };
            let _patience = timeout(FAREWELL, rest).await;
        }
    }

    /// Takes the place of the client's stream.
    async fn begin(&mut self) -> Result<Open, End> {
        let refusal = match self.parts.messaging.client(self.client) {
            None => CLIENT_NOT_FOUND,
            Some(it) if it.user != self.user => FOREIGN_CLIENT,
            Some(_) => return Ok(self.parts.open.open(self.client)),
        };
        self.tell(Outcome { request: None, accepted: Err(refusal.into()) }).await?;
        Err(End::Gone)
    }

    async fn serve(&mut self, open: &Open, messages: &mut AggregatedMessageStream) -> End {
        let mut beat = interval_at(Instant::now() + PING, PING);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let parts = self.parts.clone();
        let messaging = &parts.messaging;
        loop {
            let answers = self.heard.elapsed() < ANSWERS;
            let reads = !self.deaf && self.outcomes.len() < MOST_IN_FLIGHT;
            let step = tokio::select! {
                () = parts.draining.cancelled() => self.leave().await,
                () = open.replaced.cancelled() => {
                    Err(End::Close(close::REPLACED, "another stream of this client was opened"))
                }
                _tick = beat.tick() => self.beat().await,
                Some(outcome) = self.outcomes.next() => self.tell(outcome).await,
                message = messages.recv(), if reads => self.hear(message).await,
                next = messaging.client_receive(self.user, self.client, self.sent, &[], SIGN_OF_LIFE), if answers => {
                    self.push(next).await
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// What came from the client.
    async fn hear(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => {
                self.take(&text);
                Ok(())
            }
            Some(Ok(AggregatedMessage::Ping(data))) => written(self.session.pong(&data)).await,
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => {
                Err(End::Close(close::UNSUPPORTED, "only text frames carry anything"))
            }
            Some(Ok(AggregatedMessage::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) => Err(self.broken(&error).await),
        }
    }

    /// Takes a frame; its outcome is told when it is known.
    fn take(&mut self, text: &str) {
        let (request, taken) = match frames::read(text) {
            Err((request, problem)) => (request, Err(problem)),
            Ok(frame) => {
                let answered = frame.request.is_some() || !frame.outgoing_messages.is_empty();
                let highest = frame.outgoing_messages.iter().filter_map(|it| it.id).max();
                let spoken = client_messages(&frame.outgoing_messages).and_then(|said| {
                    let consumed = &frame.consumed_messages;
                    self.parts.messaging.client_send(self.user, self.client, &said, consumed)
                });
                match spoken {
                    Ok(Some(commit)) if answered => (frame.request, Ok((commit, highest))),
                    // Nobody waits for an answer, or the session is over and nothing was taken.
                    Ok(_) => return,
                    Err(problem) => (frame.request, Err(problem)),
                }
            }
        };
        self.outcomes.push_back(match taken {
            Ok((commit, highest)) => {
                let safe = commit.wait();
                async move { Outcome { request, accepted: safe.await.map(|()| highest) } }.boxed_local()
            }
            Err(problem) => {
                self.deaf |= frames::ends_with(&problem).is_some();
                ready(Outcome { request, accepted: Err(problem) }).boxed_local()
            }
        });
    }

    /// Tells what became of a frame.
    async fn tell(&mut self, outcome: Outcome) -> Result<(), End> {
        let Outcome { request, accepted } = outcome;
        let problem = match accepted {
            Ok(highest) => return self.write(frames::accepted(highest, request)).await,
            Err(problem) => problem,
        };
        self.log(&problem);
        self.write(frames::refused(&problem, request, &self.request_id)).await?;
        match frames::ends_with(&problem) {
            Some(code) => Err(End::Close(code, "see the error")),
            None => Ok(()),
        }
    }

    /// Sends what comes next in the mailbox.
    async fn push(&mut self, next: Result<Option<Vec<Entry>>, Problem>) -> Result<(), End> {
        let entries = match next {
            Ok(Some(entries)) => entries,
            Ok(None) => return Err(End::Close(close::OVER, "the session is over")),
            Err(problem) => {
                self.tell(Outcome { request: None, accepted: Err(problem) }).await?;
                return Err(End::Close(close::INTERNAL, "see the error"));
            }
        };
        for frame in frames::incoming(&entries) {
            self.write(frame).await?;
        }
        self.sent = entries.last().map(|it| it.id).or(self.sent);
        Ok(())
    }

    /// Looks after the client.
    async fn beat(&mut self) -> Result<(), End> {
        if self.heard.elapsed() >= GONE {
            return Err(End::Gone);
        }
        if let Err(problem) = self.parts.tokens.verify(&self.token) {
            self.tell(Outcome { request: None, accepted: Err(problem) }).await?;
        }
        written(self.session.ping(b"")).await
    }

    /// Before the server stops: what is safe by then is told, so that the client needn't repeat it.
    async fn leave(&mut self) -> Result<(), End> {
        let told = async {
            while let Some(outcome) = self.outcomes.next().await {
                self.tell(outcome).await?;
            }
            Ok(())
        };
        timeout(FAREWELL, told).await.unwrap_or(Ok(()))?;
        Err(End::Close(close::GOING_AWAY, "the server stops"))
    }

    /// What can't be a frame.
    async fn broken(&mut self, error: &ProtocolError) -> End {
        if !too_large(error) {
            return End::Close(close::PROTOCOL, "no WebSocket frame");
        }
        // What came before it keeps its answers, and the client knows by them which frame it was.
        while let Ok(Some(outcome)) = timeout(WRITE, self.outcomes.next()).await {
            if let Err(end) = self.tell(outcome).await {
                return end;
            }
        }
        let most = self.parts.frame_limit;
        let problem = codes::TOO_LARGE.detail(format!("a frame must have at most {most} bytes"));
        match self.tell(Outcome { request: None, accepted: Err(problem) }).await {
            Ok(()) => {
                // Its rest is thrown away meanwhile.
                sleep(THROWN_AWAY).await;
                End::Close(close::TOO_LARGE, "see the error")
            }
            Err(end) => end,
        }
    }

    async fn write(&mut self, text: String) -> Result<(), End> {
        written(self.session.text(text)).await
    }

    fn log(&self, problem: &Problem) {
        let (id, client) = (&self.request_id, self.client);
        if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) {
            tracing::error!(request.id = %id, %client, ?problem, "a stream failed");
        } else {
            tracing::debug!(request.id = %id, %client, code = problem.code(), %problem, "a frame was refused");
        }
        metrics::counter!("omgservers_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    }
}

/// A write that the client takes in time.
async fn written(write: impl Future<Output = Result<(), actix_ws::Closed>>) -> Result<(), End> {
    match timeout(WRITE, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

/// Whether a frame was refused for its size: by our guard, which comes before the library.
fn too_large(error: &ProtocolError) -> bool {
    let ProtocolError::Io(error) = error else { return matches!(error, ProtocolError::Overflow) };
    let guarded = error.get_ref().and_then(|it| it.downcast_ref::<PayloadError>());
    matches!(guarded, Some(PayloadError::Overflow))
}
