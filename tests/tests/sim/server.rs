//! Game servers: one for each container that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{
    ClientId, EntryId, Problem, RuntimeId, UserId,
    ids::SenderSeq,
    interchange::{AddClient, ClientRef, Outgoing, command},
};
use omgservers_core::Caller;
use omgservers_matchmaking::RuntimeAnswer;
use omgservers_messaging::Entry;
use omgservers_runtimes::host::{Attempt, fake::FakeContainer};
use serde_json::value::RawValue;

use crate::{
    dice::Dice,
    world::{Verdict, Way, World},
};

/// A game server.
pub(crate) struct Server {
    pub(crate) attempt: Attempt,
    password: String,
    /// It has got its token.
    verified: bool,
    /// It doesn't do anything any more, but its container runs.
    pub(crate) hung: bool,
    /// The backend doesn't know it any more.
    pub(crate) dismissed: bool,
    seen: BTreeSet<EntryId>,
    last: Option<EntryId>,
    pub(crate) members: BTreeMap<ClientId, UserId>,
    /// The messages of each client.
    pub(crate) heard: BTreeMap<ClientId, BTreeSet<u64>>,
    /// Those that it may hear once more: the backend was killed before it acknowledged them to who said them.
    pub(crate) repeatable: BTreeMap<ClientId, BTreeSet<u64>>,
    to_consume: Vec<EntryId>,
    next_seq: u64,
    next_number: u64,
    unanswered: Vec<Order>,
}

/// A command of a game server.
#[derive(Debug, Clone)]
struct Order {
    seq: u64,
    what: What,
    body: String,
    /// How often it was sent.
    sent: u32,
    /// How many values of this profile had been tried when it was first sent.
    tried: Option<u64>,
}

#[derive(Debug, Clone)]
enum What {
    Respond(ClientId, u64),
    Broadcast,
    Kick(ClientId),
    SetProfile(ClientId, UserId, String),
}

impl What {
    fn qualifier(&self) -> &'static str {
        match self {
            Self::Respond(..) => command::RESPOND_CLIENT,
            Self::Broadcast => command::BROADCAST_MESSAGE,
            Self::Kick(_) => command::KICK_CLIENT,
            Self::SetProfile(..) => command::SET_PROFILE,
        }
    }
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
            password: container.spec.env["OMGSERVERS_PASSWORD"].clone(),
            verified: false,
            hung: false,
            dismissed: false,
            seen: BTreeSet::new(),
            last: None,
            members: BTreeMap::new(),
            heard: BTreeMap::new(),
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

    fn order(&mut self, what: What, body: String) {
        self.unanswered.push(Order { seq: self.next_seq, what, body, sent: 0, tried: None });
        self.next_seq += 1;
    }

    fn saying(&mut self) -> (u64, String) {
        self.next_number += 1;
        (self.next_number, format!(r#"{{"from":"{}","number":{}}}"#, self.attempt, self.next_number))
    }

    fn respond(&mut self, client: ClientId) {
        let (number, saying) = self.saying();
        self.order(
            What::Respond(client, number),
            format!(r#"{{"client_id":"{client}","message":{saying}}}"#),
        );
    }

    /// Something of its own accord.
    fn act(&mut self, dice: &mut Dice) {
        let members: Vec<(ClientId, UserId)> = self.members.iter().map(|it| (*it.0, *it.1)).collect();
        let Some((client, user)) = dice.pick(&members).copied() else { return };
        match dice.below(12) {
            0 => self.order(What::Kick(client), format!(r#"{{"client_id":"{client}"}}"#)),
            1..=4 => {
                self.next_number += 1;
                let value = format!(r#"{{"v":"{} {}"}}"#, self.attempt, self.next_number);
                let body = format!(r#"{{"client_id":"{client}","profile":{value}}}"#);
                self.order(What::SetProfile(client, user, value), body);
            }
            5..=7 => {
                let (_, saying) = self.saying();
                self.order(What::Broadcast, format!(r#"{{"message":{saying}}}"#));
            }
            _ => self.respond(client),
        }
    }

    /// A message or command that it sees for the first time.
    fn hear(&mut self, entry: &Entry, world: &mut Facts<'_>) -> Verdict {
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
            command::INIT_RUNTIME => {}
            command::ADD_CLIENT => {
                let body: AddClient = serde_json::from_str(&entry.body).map_err(wrong)?;
                if self.members.insert(body.client_id, body.user_id).is_some() {
                    return Err(format!("game server {me} got client {} twice", body.client_id));
                }
                world.check_profile(&body)?;
            }
            command::DELETE_CLIENT => {
                let body: ClientRef = serde_json::from_str(&entry.body).map_err(wrong)?;
                if self.members.remove(&body.client_id).is_none() {
                    return Err(format!("game server {me} never had client {}", body.client_id));
                }
            }
            command::HANDLE_MESSAGE => {
                let Handle { client_id, message } = serde_json::from_str(&entry.body).map_err(wrong)?;
                self.handle(client_id, message, world)?;
            }
            other => return Err(format!("game server {me} got {other}")),
        }
        Ok(())
    }

    fn handle(&mut self, client: ClientId, number: u64, world: &Facts<'_>) -> Verdict {
        let me = self.attempt;
        if !self.members.contains_key(&client) {
            return Err(format!(
                "game server {me} got message {number} of client {client}, which it doesn't have"
            ));
        }
        let heard = self.heard.entry(client).or_default();
        let before = heard.last().copied();
        heard.insert(number);
        // What another one has got may come again after a crash; what none has got must come.
        let taken = world.taken.get(&client);
        let complete =
            (0..number).all(|it| heard.contains(&it) || taken.is_some_and(|all| all.contains(&it)));
        let again = self.repeatable.get_mut(&client).is_some_and(|it| it.remove(&number));
        if (before >= Some(number) && !again) || !complete {
            return Err(format!(
                "game server {me} got message {number} of client {client} after {before:?}; others got {taken:?}"
            ));
        }
        let said = world.players.iter().filter_map(|it| it.session.as_ref());
        if said.filter(|it| it.client == client).any(|it| !it.has_said(number)) {
            return Err(format!("game server {me} got message {number} of {client} that was never said"));
        }
        self.respond(client);
        Ok(())
    }
}

/// What a game server is compared with.
struct Facts<'a> {
    taken: &'a BTreeMap<ClientId, BTreeSet<u64>>,
    players: &'a [crate::player::Player],
    profiles: &'a mut BTreeMap<UserId, crate::world::Profile>,
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

impl World {
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
    pub(crate) async fn poll(&mut self, attempt: Attempt, dice: Option<&mut Dice>, way: Way) -> Verdict {
        let Some(mut server) = self.servers.remove(&attempt) else { return Ok(()) };
        let done = match dice {
            _ if server.hung || server.dismissed => Ok(()),
            dice => self.poll_with(&mut server, dice, way).await,
        };
        self.servers.insert(attempt, server);
        done
    }

    async fn poll_with(&mut self, server: &mut Server, dice: Option<&mut Dice>, way: Way) -> Verdict {
        if !server.verified && !self.verify(server).await {
            return Ok(());
        }
        let work = self.polling(server, dice);
        let unanswered = way == Way::Unanswered;
        let way = if unanswered { Way::Whole } else { way };
        let answer = Self::call(&self.script, way, work).await;
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
        dice: Option<&mut Dice>,
    ) -> impl Future<Output = Result<RuntimeAnswer, Problem>> + use<> {
        if let Some(dice) = dice
            && dice.percent(30)
        {
            server.act(dice);
        }
        self.note_orders(server);
        let (orders, consumed) = (server.unanswered.clone(), server.to_consume.clone());
        let caller = Caller::Runtime(server.runtime());
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        async move {
            let raw = |it: &Order| RawValue::from_string(it.body.clone()).unwrap();
            let bodies: Vec<Box<RawValue>> = orders.iter().map(raw).collect();
            let command = |(it, body): (&Order, _)| Outgoing {
                id: Some(SenderSeq(it.seq)),
                qualifier: it.what.qualifier().into(),
                body: Some(body),
            };
            let commands: Vec<Outgoing<'_>> =
                orders.iter().zip(bodies.iter().map(|it| &**it)).map(command).collect();
            matchmaking.exchange(&caller, &commands, &consumed, Duration::ZERO).await
        }
    }

    async fn verify(&mut self, server: &mut Server) -> bool {
        let verified = self.backend().runtimes.verify(server.runtime(), &server.password).await;
        let me = server.attempt;
        match &verified {
            Ok(()) => server.verified = true,
            Err(problem) => {
                server.dismissed = matches!(problem.kind(), omgservers_api::Kind::NotFound);
                self.say(format!("game server {me} is refused: {problem}"));
            }
        }
        server.verified
    }

    /// Remembers what may come of the orders that are about to be sent.
    fn note_orders(&mut self, server: &mut Server) {
        for order in &mut server.unanswered {
            order.sent += 1;
            match &order.what {
                What::Kick(client) => {
                    let sessions = self.players.iter_mut().filter_map(|it| it.session.as_mut());
                    sessions.filter(|it| it.client == *client).for_each(|it| it.kicked = true);
                }
                What::SetProfile(_, user, value) => {
                    let profile = self.profiles.entry(*user).or_default();
                    profile.possible.insert(value.clone());
                    if order.tried.is_none() {
                        profile.tried += 1;
                        order.tried = Some(profile.tried);
                    }
                }
                What::Respond(..) | What::Broadcast => {}
            }
        }
    }

    /// What comes of it; `unanswered`: the answer is lost.
    pub(crate) fn polled(
        &mut self,
        server: &mut Server,
        answer: Option<Result<RuntimeAnswer, Problem>>,
        unanswered: bool,
    ) -> Verdict {
        for entry in answer.iter().flatten().flat_map(|it| &it.incoming) {
            // What was handed out is not handed to another game server, even if the answer was lost.
            if entry.qualifier == command::HANDLE_MESSAGE {
                let it: Handle = serde_json::from_str(&entry.body).map_err(|it| it.to_string())?;
                self.taken.entry(it.client_id).or_default().insert(it.message);
            }
        }
        let answer = answer.filter(|_| !unanswered);
        let me = server.attempt;
        match answer {
            Some(Ok(answer)) => {
                let orders = std::mem::take(&mut server.unanswered);
                server.to_consume.clear();
                let rejected: BTreeSet<usize> = answer.rejected.iter().map(|it| it.index).collect();
                for (index, order) in orders.iter().enumerate() {
                    if !rejected.contains(&index) {
                        self.carried_out(order, me);
                    }
                }
                let (sent, got, rejected) = (orders.len(), answer.incoming.len(), answer.rejected.len());
                if sent + got > 0 {
                    self.say(format!("game server {me} sends {sent} ({rejected} rejected), gets {got}"));
                }
                for entry in &answer.incoming {
                    server.to_consume.push(entry.id);
                    if server.seen.insert(entry.id) {
                        let mut facts = Facts {
                            taken: &self.taken,
                            players: &self.players,
                            profiles: &mut self.profiles,
                        };
                        server.hear(entry, &mut facts)?;
                        self.say(format!("  {me} hears {} {}", entry.qualifier, entry.body));
                    }
                }
            }
            Some(Err(problem)) if problem.is(omgservers_messaging::problems::RUNTIME_NOT_FOUND) => {
                server.dismissed = true;
                self.say(format!("game server {me} is dismissed"));
            }
            other => {
                let why = other.map(|it| it.map(drop).map_err(|it| it.to_string()));
                self.say(format!("game server {me} gets no answer: {why:?}"));
            }
        }
        Ok(())
    }

    /// What was carried out can be seen.
    fn carried_out(&mut self, order: &Order, from: Attempt) {
        match &order.what {
            What::Respond(client, number) => {
                let sessions = self.players.iter_mut().filter_map(|it| it.session.as_mut());
                for session in sessions.filter(|it| it.client == *client) {
                    session.promised.insert(from.to_string(), *number);
                }
            }
            What::SetProfile(client, user, value) => {
                // A command that can't be carried out is answered so once: who asks again hears that it asked before.
                let info = self.backend().messaging.client(*client);
                let here = info.is_some_and(|it| {
                    !it.closed
                        && it.route == Some(from.runtime)
                        && !self.doomed_stage
                        && !self.doomed_deployments.contains(&it.deployment)
                });
                let profile = self.profiles.entry(*user).or_default();
                if !here && order.sent > 1 {
                    return;
                }
                // Others may have set it since this one was first sent.
                if order.tried == Some(profile.tried) {
                    let now: BTreeSet<String> = [value.clone()].into();
                    let past = std::mem::replace(&mut profile.possible, now);
                    profile.past.extend(past.into_iter().map(|it| (it, self.step)));
                }
            }
            What::Kick(_) | What::Broadcast => {}
        }
    }
}
