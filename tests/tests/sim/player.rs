//! Players: what they say and hear, and what they may expect.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, Role, RuntimeId, RuntimeQualifier, UserId,
    ids::SenderSeq,
    interchange::{DisconnectionReason, MatchmakingFailure, Reason, RuntimeAssignment, message},
};
use omgservers_core::Caller;
use omgservers_messaging::{ClientMessage, Entry};
use omgservers_testkit::protocol::assert_entry;
use serde_json::value::RawValue;

use crate::{
    modes,
    simulation::{CallMode, Simulation, Verdict},
};

/// A player.
pub(crate) struct Player {
    pub(crate) user: UserId,
    pub(crate) session: Option<Session>,
}

impl Player {
    pub(crate) fn new(user: UserId) -> Self {
        Self { user, session: None }
    }
}

/// A session as its player sees it.
pub(crate) struct Session {
    pub(crate) client: ClientId,
    pub(crate) deployment: DeploymentId,
    pub(crate) made: u64,
    pub(crate) made_step: u64,
    /// When the player last tried to exchange, and the longest time between two tries.
    pub(crate) last_try: u64,
    pub(crate) longest_gap: u64,
    next_seq: u64,
    unacknowledged: Vec<u64>,
    /// The last message that was acknowledged.
    pub(crate) acknowledged: Option<u64>,
    to_consume: Vec<EntryId>,
    seen: BTreeSet<EntryId>,
    last: Option<EntryId>,
    /// The runtimes of its assignments.
    pub(crate) assigned: Vec<RuntimeId>,
    /// The runtimes that it really was with.
    pub(crate) routes: BTreeSet<RuntimeId>,
    /// The one that it is with, as far as was looked, and how often that has changed.
    pub(crate) route: Option<RuntimeId>,
    pub(crate) moves: u64,
    /// Matches' runtimes that may have sent it away.
    pub(crate) kicked_from: BTreeSet<RuntimeId>,
    /// How often somebody asked, for each mode, to match it.
    pub(crate) requested: BTreeMap<&'static str, u64>,
    /// How many requests for a mode had ended before the last acknowledged one.
    pub(crate) owed: BTreeMap<&'static str, u64>,
    /// The requests for each mode that have ended.
    ended: BTreeMap<String, u64>,
    /// The last number of each game server's messages.
    received: BTreeMap<String, u64>,
    /// The numbers that the backend has acknowledged to game servers.
    pub(crate) promised: BTreeMap<String, u64>,
    pub(crate) reason: Option<Reason>,
    /// Its mailbox is gone.
    pub(crate) lost: bool,
    /// It never sends again.
    pub(crate) silent: bool,
    pub(crate) kicked: bool,
}

/// What players receive from game servers.
#[derive(serde::Deserialize)]
struct FromGame {
    message: GameMessage,
}

#[derive(serde::Deserialize)]
struct GameMessage {
    from: String,
    number: u64,
}

impl Session {
    fn new(client: ClientId, deployment: DeploymentId, now: u64, step: u64) -> Self {
        Self {
            client,
            deployment,
            made: now,
            made_step: step,
            last_try: now,
            longest_gap: 0,
            next_seq: 0,
            unacknowledged: Vec::new(),
            acknowledged: None,
            to_consume: Vec::new(),
            seen: BTreeSet::new(),
            last: None,
            assigned: Vec::new(),
            routes: BTreeSet::new(),
            route: None,
            moves: 0,
            kicked_from: BTreeSet::new(),
            requested: BTreeMap::new(),
            owed: BTreeMap::new(),
            ended: BTreeMap::new(),
            received: BTreeMap::new(),
            promised: BTreeMap::new(),
            reason: None,
            lost: false,
            silent: false,
            kicked: false,
        }
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.reason.is_some() || self.lost
    }

    /// Whether it has sent a message with this number.
    pub(crate) fn has_sent(&self, seq: u64) -> bool {
        seq < self.next_seq
    }

    /// The numbers of all its messages.
    pub(crate) fn all_sent(&self) -> std::ops::Range<u64> {
        0..self.next_seq
    }

    /// How many requests for a mode have ended.
    pub(crate) fn ended(&self, mode: &str) -> u64 {
        self.ended.get(mode).copied().unwrap_or(0)
    }

    /// A request has ended. No end comes without a request.
    fn end_request(&mut self, mode: &str) -> Verdict {
        let ended = self.ended.entry(mode.to_owned()).or_default();
        *ended += 1;
        let requested = self.requested.get(mode).copied().unwrap_or(0);
        if *ended > requested {
            return Err(format!(
                "client {}: {ended} requests for {mode} have ended of {requested}",
                self.client
            ));
        }
        Ok(())
    }

    /// The messages that aren't acknowledged yet.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.unacknowledged.iter().copied()
    }

    /// Whether all sent messages are acknowledged and all promised ones received.
    pub(crate) fn check_promises(&self) -> Verdict {
        if !self.unacknowledged.is_empty() {
            return Err(format!("client {} still has messages without an answer", self.client));
        }
        for (from, number) in &self.promised {
            if self.received.get(from).is_none_or(|it| it < number) {
                return Err(format!("client {} never received {number} of game server {from}", self.client));
            }
        }
        Ok(())
    }

    fn receive(&mut self, entry: &Entry) -> Verdict {
        let client = self.client;
        self.to_consume.push(entry.id);
        if !self.seen.insert(entry.id) {
            return Ok(());
        }
        if self.last.is_some_and(|it| it >= entry.id) {
            return Err(format!("client {client}: entry {} comes after {:?}", entry.id, self.last));
        }
        self.last = Some(entry.id);
        let wrong =
            |it: serde_json::Error| format!("client {client}: {} can't be read: {it}", entry.qualifier);
        let expected = match self.seen.len() {
            1 => message::SERVER_WELCOME,
            2 => message::MATCHMAKER_ASSIGNMENT,
            _ => entry.qualifier,
        };
        if entry.qualifier != expected {
            return Err(format!("client {client} got {} instead of {expected}", entry.qualifier));
        }
        if self.reason.is_some() {
            return Err(format!("client {client} got {} after the reason of its end", entry.qualifier));
        }
        match entry.qualifier {
            message::SERVER_WELCOME if self.seen.len() == 1 => {}
            message::MATCHMAKER_ASSIGNMENT if self.seen.len() == 2 => {}
            message::RUNTIME_ASSIGNMENT => {
                let body: RuntimeAssignment = serde_json::from_str(&entry.body).map_err(wrong)?;
                if self.assigned.last() == Some(&body.runtime_id) {
                    return Err(format!("client {client} was assigned to {} twice", body.runtime_id));
                }
                self.assigned.push(body.runtime_id);
                let config = &body.runtime_config;
                let is_match = body.runtime_qualifier == RuntimeQualifier::Match;
                if is_match != config.match_config.is_some() || is_match == config.lobby_config.is_some() {
                    return Err(format!("client {client} was assigned to {config:?}"));
                }
                if let Some(match_config) = &config.match_config {
                    self.end_request(&match_config.mode)?;
                }
            }
            message::MATCHMAKING_FAILURE => {
                let body: MatchmakingFailure = serde_json::from_str(&entry.body).map_err(wrong)?;
                // It comes again after a kill between the message and the backend's note of it.
                if body.detail == "the request ended while the backend was away" {
                    *self.requested.entry(modes::static_name(&body.mode)).or_default() += 1;
                }
                self.end_request(&body.mode)?;
            }
            message::SERVER_OUTGOING => {
                let FromGame { message: GameMessage { from, number } } =
                    serde_json::from_str(&entry.body).map_err(wrong)?;
                let before = self.received.insert(from.clone(), number);
                if before.is_some_and(|it| it >= number) {
                    return Err(format!("client {client} received {number} of {from} after {before:?}"));
                }
            }
            message::DISCONNECTION_REASON => {
                let body: DisconnectionReason = serde_json::from_str(&entry.body).map_err(wrong)?;
                self.reason = Some(body.reason);
            }
            other => return Err(format!("client {client} got {other} out of place")),
        }
        Ok(())
    }
}

impl Simulation {
    /// A session by its client.
    pub(crate) fn session_mut(&mut self, client: ClientId) -> Option<&mut Session> {
        self.players.iter_mut().filter_map(|it| it.session.as_mut()).find(|it| it.client == client)
    }

    /// A player without a session asks for one.
    pub(crate) async fn enter(&mut self, index: usize, call_mode: CallMode) -> Verdict {
        let work = self.entering(index);
        let answer = Self::call(&self.script, call_mode, work).await;
        self.entered(index, answer)
    }

    /// The call with which a player enters.
    pub(crate) fn entering(&self, index: usize) -> impl Future<Output = Result<ClientId, Problem>> + use<> {
        let caller = Caller::User { id: self.players[index].user, role: Role::Player };
        let (tenant, project, stage) = (self.tenant.into(), self.project.into(), self.stage.into());
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        async move { matchmaking.create_client(&caller, &tenant, &project, &stage).await }
    }

    /// What comes of it.
    pub(crate) fn entered(&mut self, index: usize, answer: Option<Result<ClientId, Problem>>) -> Verdict {
        match answer {
            Some(Ok(client)) => {
                let info = self.backend().messaging.client(client);
                let info = info.ok_or_else(|| format!("client {client} was made and isn't there"))?;
                self.players[index].session =
                    Some(Session::new(client, info.deployment, self.now, self.step));
                self.note(format!("player {index} enters as client {client} in {}", info.deployment));
            }
            other => {
                let why = other.map(|it| it.map_err(|it| it.to_string()));
                self.note(format!("player {index} can't enter: {why:?}"));
            }
        }
        Ok(())
    }

    /// A player exchanges: sends so many new messages, and repeats what wasn't acknowledged.
    pub(crate) async fn exchange(&mut self, index: usize, fresh: u64, call_mode: CallMode) -> Verdict {
        let (sent, work) = self.exchanging(index, fresh);
        let answer = Self::call(&self.script, call_mode, work).await;
        self.answered(index, &sent, &answer)
    }

    /// The call with which a player with a session exchanges, and the messages that it sends.
    pub(crate) fn exchanging(
        &mut self,
        index: usize,
        fresh: u64,
    ) -> (Vec<u64>, impl Future<Output = Result<Vec<Entry>, Problem>> + use<>) {
        let now = self.now;
        let mail = Arc::clone(&self.backend().mail);
        let player = &mut self.players[index];
        let (user, session) = (player.user, player.session.as_mut().unwrap());
        session.longest_gap = session.longest_gap.max(now - session.last_try);
        session.last_try = now;
        session.unacknowledged.extend(session.next_seq..session.next_seq + fresh);
        session.next_seq += fresh;
        let (client, sent) = (session.client, session.unacknowledged.clone());
        let (numbers, consumed) = (sent.clone(), session.to_consume.clone());
        let work = async move {
            let raw = |it: &u64| RawValue::from_string(it.to_string()).unwrap();
            let data: Vec<Box<RawValue>> = numbers.iter().map(raw).collect();
            let message = |(seq, data): (&u64, _)| ClientMessage { seq: Some(SenderSeq(*seq)), data };
            let messages: Vec<ClientMessage<'_>> =
                numbers.iter().zip(data.iter().map(|it| &**it)).map(message).collect();
            // As the HTTP API does it: the messages are safe before the player receives anything.
            if !messages.is_empty() {
                return mail.client_exchange(user, client, &messages, &consumed).await;
            }
            let received = mail.client_receive(user, client, None, &consumed, Duration::ZERO).await?;
            Ok(received.unwrap_or_default())
        };
        (sent, work)
    }

    /// What comes of it.
    pub(crate) fn answered(
        &mut self,
        index: usize,
        sent: &[u64],
        answer: &Option<Result<Vec<Entry>, Problem>>,
    ) -> Verdict {
        let Some(session) = &mut self.players[index].session else { return Ok(()) };
        let client = session.client;
        match answer {
            Some(Ok(entries)) => {
                session.to_consume.clear();
                for entry in entries {
                    assert_entry("IncomingMessage", entry.id, entry.qualifier, &entry.body);
                    session.receive(entry)?;
                }
                if session.reason.is_none() {
                    session.acknowledged = sent.last().copied().or(session.acknowledged);
                    session.unacknowledged.clear();
                }
                let (end, received) = (session.reason, entries.len());
                if !sent.is_empty() || received > 0 {
                    self.note(format!("client {client} sends {sent:?}, receives {received}, end {end:?}"));
                }
                self.check_end(index)
            }
            Some(Err(problem)) if problem.is(omgservers_messaging::problems::CLIENT_NOT_FOUND) => {
                session.lost = true;
                self.note(format!("client {client} is forgotten"));
                self.check_end(index)
            }
            other => {
                let why = other.as_ref().map(|it| it.as_ref().map(Vec::len).map_err(ToString::to_string));
                self.note(format!("client {client} sends {sent:?} and gets no answer: {why:?}"));
                Ok(())
            }
        }
    }

    /// A session ends only for a cause.
    fn check_end(&self, index: usize) -> Verdict {
        let Some(session) = &self.players[index].session else { return Ok(()) };
        let doomed = self.doomed_stage
            || self.doomed_deployments.contains(&session.deployment)
            || session.routes.iter().chain(&session.assigned).any(|it| self.doomed_runtimes.contains(it));
        let caused = match session.reason {
            None if session.lost => session.longest_gap >= 60_000,
            None => true,
            Some(Reason::ClientKicked) => session.kicked,
            Some(Reason::ClientInactivity) => session.longest_gap >= 30_000,
            Some(Reason::InternalFailure) => doomed || self.now - session.made >= 300_000,
        };
        if caused {
            return Ok(());
        }
        Err(format!(
            "client {} ended without a cause: {:?}, lost {}",
            session.client, session.reason, session.lost
        ))
    }
}
