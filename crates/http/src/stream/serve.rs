//! One stream from its handshake to its end.

use std::{future::ready, time::Duration};

use actix_web::web::Data;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesOrdered};
use omgservers_api::{
    ClientId, EntryId, Kind, Problem, UserId, ids::SenderSeq, problem::codes, stream::close,
};
use omgservers_messaging::{Entry, Sending, StreamPosition};
use omgservers_ws::{EncodedFrame, FrameKind, Message, Violation};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{StreamParts, frames, open::Open};
use crate::{
    interchange::client_messages,
    websocket::{DISCARD_TIME, IncomingMessages},
};

/// Time between two pings.
const PING: Duration = Duration::from_secs(15);
/// A client that sent something within this time answers its pings.
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Idle time after which a client is gone: it left two pings unanswered.
const MAX_IDLE: Duration = Duration::from_secs(35);
/// How often the stream marks a client that answers its pings as active.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(3);
/// Most unacknowledged frames. The stream reads no further one before the first is acknowledged.
const MAX_IN_FLIGHT: usize = 64;
/// How long a write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the end waits for the client and for the last commits.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// One stream.
pub(super) struct StreamConnection {
    parts: Data<StreamParts>,
    incoming: IncomingMessages,
    outgoing: mpsc::Sender<Bytes>,
    user: UserId,
    client: ClientId,
    token: String,
    request_id: String,
    /// Last entry that was sent.
    sent: Option<EntryId>,
    /// Outcomes of received frames, in their order.
    outcomes: FuturesOrdered<LocalBoxFuture<'static, FrameReply>>,
    /// Position of the next frame that is sent to the mailbox.
    position: StreamPosition,
    /// No further frame is read: one was refused, and later ones would overtake it.
    read_closed: bool,
    /// Time of the last message of the client.
    received: Instant,
}

/// The reply to a frame.
struct FrameReply {
    request: Option<SenderSeq>,
    accepted: Result<AcceptedFrame, Problem>,
}

/// What became of a frame that was not refused.
enum AcceptedFrame {
    /// It is safe; its highest counter.
    Safe(Option<SenderSeq>),
    /// It needs no answer, or the session is over and nothing was accepted.
    Unanswered,
}

/// How a stream ends.
enum End {
    /// The client is gone.
    Gone,
    /// The backend ends it.
    Close(u16, &'static str),
}

impl StreamConnection {
    pub(super) fn new(
        parts: Data<StreamParts>,
        (incoming, outgoing): (IncomingMessages, mpsc::Sender<Bytes>),
        (user, client): (UserId, ClientId),
        token: String,
        request_id: String,
    ) -> Self {
        Self {
            parts,
            incoming,
            outgoing,
            user,
            client,
            token,
            request_id,
            sent: None,
            outcomes: FuturesOrdered::new(),
            position: StreamPosition::default(),
            read_closed: false,
            received: Instant::now(),
        }
    }

    /// Serves the stream to its end.
    pub(super) async fn run(mut self) {
        let end = match self.begin().await {
            Ok(open) => self.serve(&open).await,
            Err(end) => end,
        };
        let reason = match end {
            End::Gone => None,
            End::Close(code, text) => Some((code, text)),
        };
        let closed = self.write(omgservers_ws::close(reason)).await.is_ok();
        if closed && reason.is_some() {
            // Dropping the sender closes the socket. Unread bytes would reset it and lose the close
            // frame.
            let answer = async {
                while let Some(Ok(message)) = self.incoming.next().await
                    && message != Message::Close
                {}
            };
            let _in_time = timeout(CLOSE_TIMEOUT, answer).await;
        }
    }

    /// Replaces the client's earlier stream.
    async fn begin(&mut self) -> Result<Open, End> {
        match self.parts.mail.client_attach(self.user, self.client).await {
            Ok(first) => {
                self.position = first;
                Ok(self.parts.open.open(self.client))
            }
            Err(problem) => {
                self.report(FrameReply { request: None, accepted: Err(problem) }).await?;
                Err(End::Gone)
            }
        }
    }

    async fn serve(&mut self, open: &Open) -> End {
        let mut beat = interval_at(Instant::now() + PING, PING);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let parts = self.parts.clone();
        let mail = &parts.mail;
        loop {
            let is_alive = self.received.elapsed() < ALIVE_WITHIN;
            let reads = !self.read_closed && self.outcomes.len() < MAX_IN_FLIGHT;
            let step = tokio::select! {
                () = parts.draining.cancelled() => self.leave().await,
                () = open.replaced.cancelled() => {
                    Err(End::Close(close::REPLACED, "another stream of this client was opened"))
                }
                _tick = beat.tick() => self.beat().await,
                Some(outcome) = self.outcomes.next() => self.report(outcome).await,
                message = self.incoming.next(), if reads => self.receive(message).await,
                next = mail.client_receive(self.user, self.client, self.sent, &[], ACTIVITY_INTERVAL), if is_alive => {
                    self.push(next).await
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Handles a message of the client.
    async fn receive(&mut self, message: Option<Result<Message, Violation>>) -> Result<(), End> {
        self.received = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => {
                self.accept(&text);
                Ok(())
            }
            Some(Ok(Message::Ping(payload))) => self.write(omgservers_ws::pong(&payload)).await,
            Some(Ok(Message::Pong)) => Ok(()),
            Some(Ok(Message::Binary(_))) => {
                Err(End::Close(close::UNSUPPORTED, "only text frames carry anything"))
            }
            Some(Ok(Message::Close)) | None => Err(End::Gone),
            Some(Err(violation)) => Err(self.violated(violation).await),
        }
    }

    /// Accepts a frame; its outcome is reported once it is known.
    fn accept(&mut self, text: &str) {
        let frame = match frames::read(text) {
            Err((request, problem)) => return self.refuse(request, problem),
            Ok(frame) => frame,
        };
        let request = frame.request;
        let messages = match client_messages(&frame.outgoing_messages) {
            Err(problem) => return self.refuse(request, problem),
            Ok(messages) => messages,
        };
        let is_answered = request.is_some() || !messages.is_empty();
        let highest = messages.iter().filter_map(|it| it.seq).max();
        let (consumed, position) = (&frame.consumed_messages, self.position);
        self.position = position.next();
        let outcome = match self.parts.mail.client_send(self.user, self.client, &messages, consumed, position)
        {
            Sending::Here(Err(problem)) => return self.refuse(request, problem),
            Sending::Here(Ok(Some(ack))) if is_answered => {
                let safe = ack.wait();
                let accepted = async move { safe.await.map(|()| AcceptedFrame::Safe(highest)) };
                accepted.map(move |accepted| FrameReply { request, accepted }).boxed_local()
            }
            Sending::Here(Ok(_)) => return,
            Sending::Away(safe) => {
                let answer = move |open| match open && is_answered {
                    true => AcceptedFrame::Safe(highest),
                    false => AcceptedFrame::Unanswered,
                };
                safe.map(move |open| FrameReply { request, accepted: open.map(answer) }).boxed_local()
            }
        };
        self.outcomes.push_back(outcome);
    }

    /// Refuses a frame. None that follows is read when this ends the stream: it would overtake.
    fn refuse(&mut self, request: Option<SenderSeq>, problem: Problem) {
        self.read_closed |= frames::ends_with(&problem).is_some();
        self.outcomes.push_back(ready(FrameReply { request, accepted: Err(problem) }).boxed_local());
    }

    /// Reports the outcome of a frame.
    async fn report(&mut self, outcome: FrameReply) -> Result<(), End> {
        let FrameReply { request, accepted } = outcome;
        let problem = match accepted {
            Ok(AcceptedFrame::Safe(highest)) => {
                return self.write_text(&frames::accepted(highest, request)).await;
            }
            Ok(AcceptedFrame::Unanswered) => return Ok(()),
            Err(problem) => problem,
        };
        self.log(&problem);
        self.write_text(&frames::refused(&problem, request, &self.request_id)).await?;
        match frames::ends_with(&problem) {
            Some(code) => Err(End::Close(code, "see the error")),
            None => Ok(()),
        }
    }

    /// Sends the next entries of the mailbox.
    async fn push(&mut self, next: Result<Option<Vec<Entry>>, Problem>) -> Result<(), End> {
        let entries = match next {
            Ok(Some(entries)) => entries,
            Ok(None) => return Err(End::Close(close::OVER, "the session is over")),
            Err(problem) => {
                self.report(FrameReply { request: None, accepted: Err(problem) }).await?;
                return Err(End::Close(close::INTERNAL, "see the error"));
            }
        };
        for frame in frames::incoming(&entries) {
            self.write_text(&frame).await?;
        }
        self.sent = entries.last().map(|it| it.id).or(self.sent);
        Ok(())
    }

    /// Checks that client and token are still valid, and sends a ping.
    async fn beat(&mut self) -> Result<(), End> {
        if self.received.elapsed() >= MAX_IDLE {
            return Err(End::Gone);
        }
        if let Err(problem) = self.parts.tokens.verify(&self.token) {
            self.report(FrameReply { request: None, accepted: Err(problem) }).await?;
        }
        self.write(omgservers_ws::ping()).await
    }

    /// Ends the stream because the server stops. Frames that are acknowledged by then are reported,
    /// so the client needn't repeat them.
    async fn leave(&mut self) -> Result<(), End> {
        let reported = async {
            while let Some(outcome) = self.outcomes.next().await {
                self.report(outcome).await?;
            }
            Ok(())
        };
        timeout(CLOSE_TIMEOUT, reported).await.unwrap_or(Ok(()))?;
        Err(End::Close(close::GOING_AWAY, "the server stops"))
    }

    /// Ends the stream because the client's bytes are no frame that it accepts.
    async fn violated(&mut self, violation: Violation) -> End {
        if violation != Violation::TooLarge {
            return End::Close(close::PROTOCOL, "no WebSocket frame");
        }
        self.incoming.discard();
        // Earlier frames keep their answers: by them the client knows which frame was too large.
        while let Ok(Some(outcome)) = timeout(WRITE_TIMEOUT, self.outcomes.next()).await {
            if let Err(end) = self.report(outcome).await {
                return end;
            }
        }
        let most = self.parts.frame_limit;
        let problem = codes::TOO_LARGE.detail(format!("a frame must have at most {most} bytes"));
        match self.report(FrameReply { request: None, accepted: Err(problem) }).await {
            Ok(()) => {
                // The rest of the frame is discarded meanwhile.
                sleep(DISCARD_TIME).await;
                End::Close(close::TOO_LARGE, "see the error")
            }
            Err(end) => end,
        }
    }

    async fn write_text(&self, text: &str) -> Result<(), End> {
        self.write(EncodedFrame::new(FrameKind::Text, text.as_bytes()).bytes().clone()).await
    }

    /// Queues a frame. A client that doesn't read for too long is gone.
    async fn write(&self, frame: Bytes) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.outgoing.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
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
