//! What game servers want done.

use std::collections::BTreeSet;

use omgservers_api::{
    ClientId, UserId,
    ids::Id as _,
    interchange::{RejectedCommand, command},
    roles::RuntimeQualifier,
};
use omgservers_runtimes::host::Attempt;

use crate::{
    modes,
    rng::Rng,
    server::Server,
    simulation::{Simulation, Verdict},
};

/// A command of a game server.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// Its own counter, if it has one.
    pub(crate) seq: Option<u64>,
    pub(crate) what: What,
    pub(crate) body: String,
    /// How often it was sent.
    pub(crate) sent: u32,
    /// How many values of this profile had been tried when it was first sent.
    tried: Option<u64>,
    /// How often the clients that it names had moved when it was first sent, and how many wishes
    /// for the mode had ended for them.
    first: Vec<(ClientId, u64, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Respond(ClientId, u64),
    Broadcast,
    Kick(ClientId),
    SetProfile(ClientId, UserId, String),
    Request(Vec<ClientId>, &'static str),
    Cancel(ClientId),
    Stop,
}

impl What {
    pub(crate) fn qualifier(&self) -> &'static str {
        match self {
            Self::Respond(..) => command::RESPOND_CLIENT,
            Self::Broadcast => command::BROADCAST_MESSAGE,
            Self::Kick(_) => command::KICK_CLIENT,
            Self::SetProfile(..) => command::SET_PROFILE,
            Self::Request(..) => command::REQUEST_MATCHMAKING,
            Self::Cancel(_) => command::CANCEL_MATCHMAKING,
            Self::Stop => command::STOP_MATCHMAKING,
        }
    }

    fn clients(&self) -> &[ClientId] {
        match self {
            Self::Respond(client, _)
            | Self::Kick(client)
            | Self::SetProfile(client, ..)
            | Self::Cancel(client) => std::slice::from_ref(client),
            Self::Request(all, _) => all,
            Self::Broadcast | Self::Stop => &[],
        }
    }
}

impl Server {
    fn order(&mut self, what: What, body: String) {
        let seq = Some(self.next_seq);
        self.next_seq += 1;
        self.unanswered.push(Order { seq, what, body, sent: 0, tried: None, first: Vec::new() });
    }

    fn next_message(&mut self) -> (u64, String) {
        self.next_number += 1;
        (self.next_number, format!(r#"{{"from":"{}","number":{}}}"#, self.attempt, self.next_number))
    }

    pub(crate) fn respond(&mut self, client: ClientId) {
        let (number, message) = self.next_message();
        let body = format!(r#"{{"client_id":"{client}","message":{message}}}"#);
        self.order(What::Respond(client, number), body);
    }

    /// Something of its own accord.
    pub(crate) fn act(&mut self, rng: &mut Rng) {
        let members: Vec<(ClientId, UserId)> = self.members.iter().map(|it| (*it.0, it.1.0)).collect();
        let Some((client, user)) = rng.pick(&members).copied() else { return };
        let is_lobby = self.kind == RuntimeQualifier::Lobby;
        match rng.below(32) {
            0 => self.kick(client),
            1 | 24 if !is_lobby => self.kick(client),
            3 | 25 if !is_lobby => self.order(What::Stop, "{}".into()),
            // Not for matches.
            4 if !is_lobby => self.request(rng, &[client]),
            // Not for lobbies.
            1 if is_lobby => self.order(What::Stop, "[]".into()),
            2 | 3 if is_lobby => {
                self.order(What::Cancel(client), format!(r#"{{"client_id":"{client}"}}"#));
            }
            4..=13 | 24..=31 if is_lobby => {
                let all: Vec<ClientId> = members.iter().map(|it| it.0).collect();
                self.request_some(rng, client, &all);
            }
            14..=16 => {
                self.next_number += 1;
                let value = format!(r#"{{"v":"{} {}"}}"#, self.attempt, self.next_number);
                let body = format!(r#"{{"client_id":"{client}","profile":{value}}}"#);
                self.order(What::SetProfile(client, user, value), body);
            }
            17..=19 => {
                let (_, message) = self.next_message();
                self.order(What::Broadcast, format!(r#"{{"message":{message}}}"#));
            }
            _ => self.respond(client),
        }
    }

    fn kick(&mut self, client: ClientId) {
        self.order(What::Kick(client), format!(r#"{{"client_id":"{client}"}}"#));
    }

    /// Wishes for one client, or for everybody, or for a party, or for somebody whom it doesn't
    /// have.
    fn request_some(&mut self, rng: &mut Rng, client: ClientId, all: &[ClientId]) {
        let stranger = ClientId::from_i64(self.attempt.runtime.get()).unwrap();
        match rng.below(10) {
            0 => self.request(rng, &[stranger]),
            1 => self.request(rng, &[client, stranger]),
            2 | 3 => {
                let other = *rng.pick(all).unwrap();
                self.request(rng, &[client, other]);
            }
            4..=6 => {
                let mode = modes::any(rng);
                all.iter().for_each(|it| self.request_for(rng, &[*it], mode));
            }
            _ => self.request(rng, &[client]),
        }
    }

    fn request(&mut self, rng: &mut Rng, clients: &[ClientId]) {
        let mode = modes::any(rng);
        self.request_for(rng, clients, mode);
    }

    fn request_for(&mut self, rng: &mut Rng, clients: &[ClientId], mode: &'static str) {
        let client = clients[0];
        let mut party: Vec<ClientId> = clients.to_vec();
        party.dedup();
        let names: Vec<String> = party.iter().map(|it| format!("\"{it}\"")).collect();
        let attributes = match mode {
            "ranked" if rng.percent(85) => format!(r#"{{"mmr":{}}}"#, 7 * rng.below(4)),
            "ranked" => r#"{"mmr":"much"}"#.into(),
            _ => "{}".into(),
        };
        let body = format!(
            r#"{{"client_id":"{client}","mode":"{mode}","clients":[{}],"attributes":{attributes}}}"#,
            names.join(",")
        );
        self.order(What::Request(party, mode), body);
        if rng.percent(15)
            && let Some(last) = self.unanswered.last_mut()
        {
            // Nothing came after it.
            (last.seq, self.next_seq) = (None, self.next_seq - 1);
        }
    }
}

impl Simulation {
    /// Remembers what may come of the orders that are about to be sent.
    pub(crate) fn note_orders(&mut self, server: &mut Server) {
        let is_lobby = server.kind == RuntimeQualifier::Lobby;
        for order in &mut server.unanswered {
            order.sent += 1;
            let mode = if let What::Request(_, mode) = &order.what { mode } else { "" };
            for client in order.what.clients() {
                let Some(session) = self.session_mut(*client) else { continue };
                match &order.what {
                    What::Kick(_) if is_lobby => session.kicked = true,
                    What::Kick(_) => drop(session.kicked_from.insert(server.attempt.runtime)),
                    What::Request(..) => *session.requested.entry(mode).or_default() += 1,
                    _ => {}
                }
                if order.sent == 1 {
                    order.first.push((*client, session.moves, session.ended(mode)));
                }
            }
            if let What::SetProfile(_, user, value) = &order.what {
                let profile = self.profiles.entry(*user).or_default();
                profile.possible.insert(value.clone());
                if order.tried.is_none() {
                    profile.tried += 1;
                    order.tried = Some(profile.tried);
                }
            }
        }
    }

    /// What has become of the orders of a game server.
    pub(crate) fn settle(
        &mut self,
        from: Attempt,
        kind: RuntimeQualifier,
        orders: &[Order],
        rejected: &[RejectedCommand],
    ) -> Verdict {
        let refused: BTreeSet<usize> = rejected.iter().map(|it| it.index).collect();
        for (index, order) in orders.iter().enumerate().filter(|it| !refused.contains(&it.0)) {
            let misplaced = matches!(
                (&order.what, kind),
                (What::Request(..), RuntimeQualifier::Match) | (What::Stop, RuntimeQualifier::Lobby)
            );
            // The answer to a repeated request only says that it is a repetition.
            if misplaced && order.sent == 1 {
                return Err(format!("game server {from}: command {index} of {orders:?} was accepted"));
            }
            self.carried_out(order, from);
        }
        let unknown = rejected.iter().find(|it| orders.get(it.index).is_none());
        unknown.map_or(Ok(()), |it| Err(format!("game server {from}: {it:?} is about no command")))
    }

    /// What was carried out can be seen.
    fn carried_out(&mut self, order: &Order, from: Attempt) {
        // The backend rejects a command that can't be carried out once. The answer to a repetition
        // only says that it is one.
        let sure: BTreeSet<ClientId> = order
            .first
            .iter()
            .filter(|(client, moves, _)| order.sent == 1 || self.stays(*client, *moves, from))
            .map(|it| it.0)
            .collect();
        match &order.what {
            What::Respond(client, number) if sure.contains(client) => {
                if let Some(session) = self.session_mut(*client) {
                    session.promised.insert(from.to_string(), *number);
                }
            }
            What::SetProfile(client, user, value) if order.sent == 1 || sure.contains(client) => {
                let profile = self.profiles.entry(*user).or_default();
                // Others may have set it since this one was first sent.
                if order.tried == Some(profile.tried) {
                    let now: BTreeSet<String> = [value.clone()].into();
                    let past = std::mem::replace(&mut profile.possible, now);
                    profile.past.extend(past.into_iter().map(|it| (it, self.step)));
                }
            }
            What::Request(_, mode) => {
                for (client, _, before) in order.first.iter().filter(|it| sure.contains(&it.0)) {
                    if let Some(session) = self.session_mut(*client) {
                        session.owed.insert(mode, *before);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a client has been with a game server since it had moved so often.
    fn stays(&self, client: ClientId, moves: u64, with: Attempt) -> bool {
        let info = self.backend().messaging.client(client);
        let sessions = self.players.iter().filter_map(|it| it.session.as_ref());
        let unmoved = sessions.filter(|it| it.client == client).all(|it| it.moves == moves);
        unmoved
            && info.is_some_and(|info| {
                !info.closed
                    && info.route == Some(with.runtime)
                    && !self.doomed_stage
                    && !self.doomed_deployments.contains(&info.deployment)
            })
    }
}
