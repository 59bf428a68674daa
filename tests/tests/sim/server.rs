//! Game servers: one for each container that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{
    ClientId, EntryId, Problem, RuntimeId, RuntimeQualifier, UserId,
    config::ModeConfig,
    ids::SenderSeq,
    interchange::{AddClient, ClientRef, InitRuntime, Outgoing, command},
};
use omgservers_core::Caller;
use omgservers_matchmaking::{RuntimeAnswer, RuntimeTurn};
use omgservers_messaging::Entry;
use omgservers_runtimes::host::{Attempt, fake::FakeContainer};
use omgservers_testkit::protocol::assert_entry;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::{
    modes,
    orders::{Order, What},
    rng::Rng,
    simulation::{CallMode, Simulation, Verdict},
};

/// A game server.
pub(crate) struct Server {
    pub(crate) attempt: Attempt,
    pub(crate) kind: RuntimeQualifier,
    /// Of a match.
    mode: Option<ModeConfig>,
    password: String,
    /// It has got its token.
    verified: bool,
    /// It doesn't do anything any more, but its container runs.
    pub(crate) hung: bool,
    /// The backend doesn't know it any more.
    pub(crate) dismissed: bool,
    seen: BTreeSet<EntryId>,
    last: Option<EntryId>,
    /// With the group of a match.
    pub(crate) members: BTreeMap<ClientId, (UserId, Option<String>)>,
    /// The messages of each client.
    pub(crate) received: BTreeMap<ClientId, BTreeSet<u64>>,
    /// Those that it may receive once more: the backend was killed before it acknowledged them to
    /// their senders.
    pub(crate) repeatable: BTreeMap<ClientId, BTreeSet<u64>>,
    to_consume: Vec<EntryId>,
    pub(crate) next_seq: u64,
    pub(crate) next_number: u64,
    pub(crate) unanswered: Vec<Order>,
}

/// A message as a game server gets it.
#[derive(serde::Deserialize)]
struct Handle {
    client_id: ClientId,
    message: u64,
}

impl Server {
    pub(crate) fn new(container: &FakeContainer) -> Self {
        Self {
            attempt: container.spec.attempt,
            kind: container.spec.qualifier,
            mode: None,
            password: container.spec.env["OMGSERVERS_PASSWORD"].clone(),
            verified: false,
            hung: false,
            dismissed: false,
            seen: BTreeSet::new(),
            last: None,
            members: BTreeMap::new(),
            received: BTreeMap::new(),
            repeatable: BTreeMap::new(),
            to_consume: Vec::new(),
            next_seq: 0,
            next_number: 0,
            unanswered: Vec::new(),
        }
    }

    fn runtime(&self) -> RuntimeId {
        self.attempt.runtime
    }

    /// A message or command that it sees for the first time.
    fn receive(&mut self, entry: &Entry, facts: &mut Facts<'_>) -> Verdict {
        let me = self.attempt;
        if self.last.is_some_and(|it| it >= entry.id) {
            return Err(format!("game server {me}: entry {} comes after {:?}", entry.id, self.last));
        }
        self.last = Some(entry.id);
        let wrong =
            |it: serde_json::Error| format!("game server {me}: {} can't be read: {it}", entry.qualifier);
        if (self.seen.len() == 1) != (entry.qualifier == command::INIT_RUNTIME) {
            return Err(format!("game server {me} got {} as its entry {}", entry.qualifier, self.seen.len()));
        }
        match entry.qualifier {
            command::INIT_RUNTIME => {
                let body: InitRuntime = serde_json::from_str(&entry.body).map_err(wrong)?;
                self.begin(&body)?;
            }
            command::ADD_CLIENT | command::ADD_MATCH_CLIENT => {
                let body: AddClient = serde_json::from_str(&entry.body).map_err(wrong)?;
                facts.check_profile(&body)?;
                self.add(entry.qualifier, body)?;
            }
            command::DELETE_CLIENT => {
                let body: ClientRef = serde_json::from_str(&entry.body).map_err(wrong)?;
                if self.members.remove(&body.client_id).is_none() {
                    return Err(format!("game server {me} never had client {}", body.client_id));
                }
            }
            command::HANDLE_MESSAGE => {
                let Handle { client_id, message } = serde_json::from_str(&entry.body).map_err(wrong)?;
                self.handle(client_id, message, facts)?;
            }
            other => return Err(format!("game server {me} got {other}")),
        }
        Ok(())
    }

    fn begin(&mut self, init: &InitRuntime) -> Verdict {
        let config = &init.runtime_config;
        self.mode = config.match_config.as_ref().and_then(|it| modes::named(&it.mode));
        let fits = match self.kind {
            RuntimeQualifier::Lobby => config.lobby_config.is_some() && config.match_config.is_none(),
            RuntimeQualifier::Match => config.lobby_config.is_none() && self.mode.is_some(),
        };
        if fits { Ok(()) } else { Err(format!("game server {} was started with {config:?}", self.attempt)) }
    }

    /// A client comes. A match never has more clients than its mode allows.
    fn add(&mut self, qualifier: &str, added: AddClient) -> Verdict {
        let (me, client) = (self.attempt, added.client_id);
        let is_match = self.kind == RuntimeQualifier::Match;
        if is_match != (qualifier == command::ADD_MATCH_CLIENT) || is_match != added.group_name.is_some() {
            return Err(format!("game server {me} got {qualifier} {added:?}"));
        }
        if self.members.insert(client, (added.user_id, added.group_name.clone())).is_some() {
            return Err(format!("game server {me} got client {client} twice"));
        }
        let (Some(mode), Some(name)) = (&self.mode, added.group_name) else { return Ok(()) };
        let group = mode.groups.iter().find(|it| it.name == name);
        let group = group.ok_or_else(|| format!("game server {me}: there is no group {name}"))?;
        let in_group = self.members.values().filter(|it| it.1.as_ref() == Some(&name)).count();
        let above = |count: usize, most: u32| u32::try_from(count).unwrap() > most;
        if above(self.members.len(), mode.max_players) || above(in_group, group.max_players) {
            return Err(format!("game server {me} has too many players: {:?}", self.members));
        }
        Ok(())
    }

    fn handle(&mut self, client: ClientId, number: u64, facts: &Facts<'_>) -> Verdict {
        let me = self.attempt;
        if !self.members.contains_key(&client) {
            return Err(format!(
                "game server {me} got message {number} of client {client}, which it doesn't have"
            ));
        }
        let received = self.received.entry(client).or_default();
        let before = received.last().copied();
        received.insert(number);
        // What another one has got may come again after a crash; what none has got must come.
        let taken = facts.taken.get(&client);
        // Messages to the runtime before stay with that one.
        let behind = facts.behind.get(&client);
        let complete = (0..number).all(|earlier| {
            received.contains(&earlier)
                || taken.is_some_and(|all| all.contains(&earlier))
                || behind.is_some_and(|all| all.contains_key(&earlier))
        });
        let again = self.repeatable.get_mut(&client).is_some_and(|it| it.remove(&number));
        if (before >= Some(number) && !again) || !complete {
            return Err(format!(
                "game server {me} got message {number} of client {client} after {before:?}; others got {taken:?}"
            ));
        }
        let sessions = facts.players.iter().filter_map(|it| it.session.as_ref());
        if sessions.filter(|it| it.client == client).any(|it| !it.has_sent(number)) {
            return Err(format!("game server {me} got message {number} of {client} that was never sent"));
        }
        self.respond(client);
        Ok(())
    }
}

/// What a game server is compared with.
struct Facts<'a> {
    taken: &'a BTreeMap<ClientId, BTreeSet<u64>>,
    behind: &'a BTreeMap<ClientId, BTreeMap<u64, RuntimeId>>,
    players: &'a [crate::player::Player],
    profiles: &'a mut BTreeMap<UserId, crate::simulation::Profile>,
}

impl Facts<'_> {
    /// It is the one that the player had when it was assigned.
    fn check_profile(&mut self, added: &AddClient) -> Verdict {
        let sessions = self.players.iter().filter_map(|it| it.session.as_ref());
        let made = sessions.filter(|it| it.client == added.client_id).map(|it| it.made_step).next();
        let profile = added.profile.get();
        let known = self.profiles.entry(added.user_id).or_default();
        let past = known.past.get(profile).is_some_and(|it| *it >= made.unwrap_or(0));
        if past || known.possible.contains(profile) {
            return Ok(());
        }
        let (user, possible) = (added.user_id, &known.possible);
        Err(format!("user {user} came with the profile {profile}, expected one of {possible:?}"))
    }
}

impl Simulation {
    /// Lets the game server of each new container begin.
    pub(crate) fn meet_servers(&mut self) {
        for (_, container) in self.running() {
            self.servers.entry(container.spec.attempt).or_insert_with(|| Server::new(&container));
        }
    }

    /// The attempts whose containers run.
    pub(crate) fn living(&self) -> Vec<Attempt> {
        self.running().into_iter().map(|it| it.1.spec.attempt).collect()
    }

    /// A game server polls.
    pub(crate) async fn poll(
        &mut self,
        attempt: Attempt,
        rng: Option<&mut Rng>,
        call_mode: CallMode,
    ) -> Verdict {
        let Some(mut server) = self.servers.remove(&attempt) else { return Ok(()) };
        let done = match rng {
            _ if server.hung || server.dismissed => Ok(()),
            rng => self.poll_with(&mut server, rng, call_mode).await,
        };
        self.servers.insert(attempt, server);
        done
    }

    async fn poll_with(
        &mut self,
        server: &mut Server,
        rng: Option<&mut Rng>,
        call_mode: CallMode,
    ) -> Verdict {
        if !server.verified && !self.verify(server).await {
            return Ok(());
        }
        let work = self.polling(server, rng);
        let unanswered = call_mode == CallMode::Unanswered;
        let call_mode = if unanswered { CallMode::Whole } else { call_mode };
        let answer = Self::call(&self.script, call_mode, work).await;
        self.polled(server, answer, unanswered)
    }

    /// Takes a game server that can poll.
    pub(crate) fn take_server(&mut self, attempt: Attempt) -> Option<Server> {
        let ready = self.servers.get(&attempt).is_some_and(|it| it.verified && !it.hung && !it.dismissed);
        if ready { self.servers.remove(&attempt) } else { None }
    }

    /// The call with which a game server polls.
    pub(crate) fn polling(
        &mut self,
        server: &mut Server,
        rng: Option<&mut Rng>,
    ) -> impl Future<Output = Result<RuntimeAnswer, Problem>> + use<> {
        if let Some(rng) = rng
            && rng.percent(if server.kind == RuntimeQualifier::Lobby { 70 } else { 40 })
        {
            server.act(rng);
        }
        self.note_orders(server);
        self.polled.insert(server.runtime());
        let (orders, consumed) = (server.unanswered.clone(), server.to_consume.clone());
        let caller = Caller::Runtime(server.runtime());
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        async move {
            let raw = |it: &Order| RawValue::from_string(it.body.clone()).unwrap();
            let bodies: Vec<Box<RawValue>> = orders.iter().map(raw).collect();
            let command = |(order, body): (&Order, _)| Outgoing {
                id: order.seq.map(SenderSeq),
                qualifier: order.what.qualifier().into(),
                body: Some(body),
            };
            let commands: Vec<Outgoing<'_>> =
                orders.iter().zip(bodies.iter().map(|it| &**it)).map(command).collect();
            let turn = RuntimeTurn { commands: &commands, consumed: &consumed, wait: Duration::ZERO };
            matchmaking.exchange(&caller, turn, &CancellationToken::new()).await
        }
    }

    async fn verify(&mut self, server: &mut Server) -> bool {
        let verified = self.backend().runtimes.verify(server.runtime(), &server.password).await;
        let me = server.attempt;
        match &verified {
            Ok(()) => server.verified = true,
            Err(problem) => {
                server.dismissed = matches!(problem.kind(), omgservers_api::Kind::NotFound);
                self.note(format!("game server {me} is refused: {problem}"));
            }
        }
        server.verified
    }

    /// What comes of it; `unanswered`: the answer is lost.
    pub(crate) fn polled(
        &mut self,
        server: &mut Server,
        answer: Option<Result<RuntimeAnswer, Problem>>,
        unanswered: bool,
    ) -> Verdict {
        // It may have moved clients.
        self.check()?;
        for entry in answer.iter().flatten().flat_map(|it| &it.incoming) {
            // What was handed out is not handed to another game server, even if the answer was
            // lost.
            if entry.qualifier == command::HANDLE_MESSAGE {
                let handle: Handle = serde_json::from_str(&entry.body).map_err(|it| it.to_string())?;
                self.taken.entry(handle.client_id).or_default().insert(handle.message);
            }
        }
        let answer = answer.filter(|_| !unanswered);
        let me = server.attempt;
        match answer {
            Some(Ok(answer)) => {
                let orders = std::mem::take(&mut server.unanswered);
                server.to_consume.clear();
                let (sent, got) = (orders.len(), answer.incoming.len());
                if sent + got > 0 {
                    let rejected: Vec<&str> = answer.rejected.iter().map(|it| it.detail.as_str()).collect();
                    self.note(format!("game server {me} sends {sent} ({rejected:?} rejected), gets {got}"));
                }
                for order in
                    orders.iter().filter(|it| !matches!(it.what, What::Respond(..) | What::Broadcast))
                {
                    self.note(format!(
                        "  {me} wants {} {}, {}. time",
                        order.what.qualifier(),
                        order.body,
                        order.sent
                    ));
                }
                self.settle(me, server.kind, &orders, &answer.rejected)?;
                for entry in &answer.incoming {
                    assert_entry("IncomingCommand", entry.id, entry.qualifier, &entry.body);
                    server.to_consume.push(entry.id);
                    if server.seen.insert(entry.id) {
                        let mut facts = Facts {
                            taken: &self.taken,
                            behind: &self.behind,
                            players: &self.players,
                            profiles: &mut self.profiles,
                        };
                        server.receive(entry, &mut facts)?;
                        self.note(format!("  {me} hears {} {}", entry.qualifier, entry.body));
                    }
                }
            }
            Some(Err(problem)) if problem.is(omgservers_messaging::problems::RUNTIME_NOT_FOUND) => {
                server.dismissed = true;
                self.note(format!("game server {me} is dismissed"));
            }
            other => {
                let why = other.map(|it| it.map(drop).map_err(|it| it.to_string()));
                self.note(format!("game server {me} gets no answer: {why:?}"));
            }
        }
        Ok(())
    }
}
