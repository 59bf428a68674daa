//! A game server: a lobby, which answers and asks for matches, or a match, which answers and sends
//! its players back.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use omgservers_api::{
    ClientId, EntryId,
    entrypoint::{
        Endpoint as _,
        runtime::{self, CreateRuntimeTokenRequest, CreateRuntimeTokenResponse},
    },
    interchange::{
        AddClient, ClientRef, Incoming, RuntimeInterchangeRequest, RuntimeInterchangeResponse, ToClient,
        command,
    },
};

use super::{
    Mode, Workload,
    bodies::{FromPlayer, Profile, number},
    call::Answer,
    card::{Card, Seat},
    orders::Orders,
};
use crate::{
    history::{Actor, Record},
    rng::Rng,
};

/// The mode of the version's configuration.
pub(crate) const MODE: &str = "duel";
/// After so long a client that was sent away and is still here is sent away again.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Fewer entries than an answer may have: it had all that waited.
const SURELY_ALL: usize = 500;

/// A client that is here.
struct Member {
    card: Arc<Card>,
    id: ClientId,
    /// How often the server had gone down when its last message came.
    last_received: Option<u64>,
}

struct Game {
    workload: Arc<Workload>,
    seat: Arc<Seat>,
    rng: Rng,
    token: Option<String>,
    orders: Orders,
    members: BTreeMap<u64, Member>,
    seen: HashSet<EntryId>,
    consumed: Vec<EntryId>,
    /// A match plays until then, once somebody has come.
    until: Option<Instant>,
    /// When clients were sent away.
    kicked: BTreeMap<u64, Instant>,
}

/// Plays until the game server is dismissed or everything is over.
pub(crate) async fn play(workload: Arc<Workload>, seat: Arc<Seat>, rng: Rng) {
    let mut game = Game {
        workload,
        seat,
        rng,
        token: None,
        orders: Orders::default(),
        members: BTreeMap::new(),
        seen: HashSet::new(),
        consumed: Vec::new(),
        until: None,
        kicked: BTreeMap::new(),
    };
    while game.workload.mode() != Mode::Over && !game.seat.is_over() {
        let mode = game.workload.mode();
        if matches!(mode, Mode::Still | Mode::FillGames) {
            game.workload.other_than(mode).await;
        } else if game.seat.frozen.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            game.turn(mode).await;
        }
    }
}

impl Game {
    async fn turn(&mut self, mode: Mode) {
        match mode {
            Mode::Play => self.act(),
            Mode::FillPlayers if !self.seat.filled.swap(true, Ordering::AcqRel) => {
                for _ in 0..self.workload.fill.load(Ordering::Relaxed) {
                    self.broadcast();
                }
            }
            _ => {}
        }
        // A match sends its players away also while others rest.
        if self.seat.is_match && matches!(mode, Mode::Play | Mode::Rest) {
            self.send_away();
        }
        if self.exchange().await.is_none() {
            tokio::time::sleep(self.rng.millis(50, 200)).await;
        }
    }

    async fn exchange(&mut self) -> Option<()> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.fetch_token().await?,
        };
        let consumed = self.consumed.clone();
        let count = consumed.len();
        let request = RuntimeInterchangeRequest {
            outgoing_commands: self.orders.request(),
            consumed_commands: consumed,
            wait: Some(100),
        };
        let begun = Instant::now();
        let call = self.workload.client.send(&runtime::Interchange::DESCRIPTOR, Some(&token), &request);
        let answer: Answer<RuntimeInterchangeResponse> = self.workload.call(&mut self.rng, call).await;
        match answer {
            Answer::Good(answer) => {
                drop(self.consumed.drain(..count));
                let here = self.surely_here();
                self.orders.answered(&self.workload, &self.seat, &answer.rejected_commands, &here);
                self.receive(&answer.incoming_commands);
                if answer.incoming_commands.len() < SURELY_ALL {
                    self.orders.fetched(&self.workload, &self.seat);
                }
                self.seat.serve(begun);
                Some(())
            }
            Answer::Unknown | Answer::Later => None,
            Answer::Token => {
                self.token = None;
                None
            }
            Answer::Gone(problem) => self.dismissed(&problem.to_string()),
            Answer::Refused(problem) => {
                self.workload.odd(format!("runtime {} was refused: {problem}", self.seat.runtime));
                None
            }
        }
    }

    async fn fetch_token(&mut self) -> Option<String> {
        let password = self.seat.password.clone();
        let request = CreateRuntimeTokenRequest { runtime_id: self.seat.runtime_id, password };
        let call = self.workload.client.send(&runtime::CreateToken::DESCRIPTOR, None, &request);
        let answer: Answer<CreateRuntimeTokenResponse> = self.workload.call(&mut self.rng, call).await;
        match answer {
            Answer::Good(answer) => {
                self.token = Some(answer.api_token.clone());
                Some(answer.api_token)
            }
            Answer::Gone(problem) => {
                self.dismissed(&problem.to_string());
                None
            }
            // Another container has taken its place, or none has.
            Answer::Token => {
                self.dismissed("its password is refused");
                None
            }
            Answer::Unknown | Answer::Later | Answer::Refused(_) => None,
        }
    }

    /// A match that is empty is to be expected to end, a lobby isn't.
    fn dismissed(&mut self, why: &str) -> Option<()> {
        let who = Actor::Runtime(self.seat.runtime);
        let ended = Record::Ended { who, why: why.to_owned() };
        let expected = self.seat.is_match && self.members.keys().all(|it| self.kicked.contains_key(it));
        self.workload.log.add(if expected { Record::Gone { who } } else { ended });
        self.seat.end();
        None
    }

    fn receive(&mut self, incoming: &[Incoming]) {
        for entry in incoming {
            let fresh = self.seen.insert(entry.id);
            self.consumed.push(entry.id);
            let body = entry.body.get();
            let read = match entry.qualifier.as_str() {
                command::ADD_CLIENT | command::ADD_MATCH_CLIENT if fresh => {
                    serde_json::from_str(body).map(|it: AddClient| self.add(&it))
                }
                command::DELETE_CLIENT if fresh => {
                    serde_json::from_str(body).map(|it: ClientRef| self.remove(number(it.client_id)))
                }
                command::HANDLE_MESSAGE => serde_json::from_str(body)
                    .and_then(|recipients: ToClient<'_>| self.handle(entry.id, fresh, &recipients)),
                _ => Ok(()),
            };
            if let Err(error) = read {
                self.workload.odd(format!("runtime {} got {}: {error}", self.seat.runtime, entry.body));
            }
        }
    }

    fn add(&mut self, added: &AddClient) {
        let client = number(added.client_id);
        let Some(card) = self.workload.card(client) else {
            self.workload.odd(format!("runtime {} got an unknown client, {client}", self.seat.runtime));
            return;
        };
        let value = serde_json::from_str(added.profile.get()).map_or(0, |it: Profile| it.v);
        self.workload.log.add(Record::ProfileRead { user: card.user, value });
        self.members.insert(client, Member { card, id: added.client_id, last_received: None });
        let plays = self.rng.millis(500, 2500);
        self.until.get_or_insert_with(|| Instant::now() + plays);
    }

    fn remove(&mut self, client: u64) {
        self.members.remove(&client);
        self.kicked.remove(&client);
        self.orders.left(client);
    }

    fn handle(&mut self, entry: EntryId, fresh: bool, message: &ToClient<'_>) -> serde_json::Result<()> {
        let sent: FromPlayer = serde_json::from_str(message.message.get())?;
        let client = number(message.client_id);
        let (by, from) = (Actor::Runtime(self.seat.runtime), Actor::Client(client));
        self.workload.log.add(Record::Received { by, entry: number(entry), from, number: sent.n });
        if let Some(card) = self.workload.card(client) {
            card.settle(sent.n);
        }
        let Some(member) = self.members.get_mut(&client) else { return Ok(()) };
        member.last_received = Some(self.workload.down_count());
        if fresh && self.workload.mode() == Mode::Play && self.rng.percent(60) {
            self.orders.send(&self.workload, &self.seat, &[message.client_id]);
        }
        Ok(())
    }

    /// Something of its own accord.
    fn act(&mut self) {
        let ids: Vec<(u64, ClientId)> = self.members.iter().map(|it| (*it.0, it.1.id)).collect();
        let Some((client, _)) = self.rng.pick(&ids).copied() else { return };
        if self.rng.percent(10) {
            self.broadcast();
        }
        if self.rng.percent(20) {
            let some: BTreeSet<ClientId> =
                (0..6).filter_map(|_| self.rng.pick(&ids).map(|it| it.1)).collect();
            self.orders.send(&self.workload, &self.seat, &some.into_iter().collect::<Vec<_>>());
        }
        let Some(card) = self.members.get(&client).map(|it| Arc::clone(&it.card)) else { return };
        if self.rng.percent(40) {
            self.orders.profile(&self.workload, &self.seat, &card);
        }
        let free = !card.has_ticket.load(Ordering::Acquire);
        if !self.seat.is_match && free && self.rng.percent(12) {
            self.orders.request_match(&self.workload, &self.seat, &card, MODE);
        }
    }

    /// The clients whose messages came since the server went down last.
    fn surely_here(&self) -> BTreeSet<u64> {
        let downs = Some(self.workload.down_count());
        self.members.iter().filter(|it| it.1.last_received == downs).map(|it| *it.0).collect()
    }

    fn broadcast(&mut self) {
        let surely = self.surely_here();
        self.orders.broadcast(&self.workload, &self.seat, surely);
    }

    /// When the match is over its players fall silent. The match sends away each player with
    /// nothing under way.
    fn send_away(&mut self) {
        if self.until.is_none_or(|it| Instant::now() < it) {
            return;
        }
        for (client, Member { card, .. }) in &self.members {
            if card.runtime.load(Ordering::Acquire) != self.seat.runtime {
                continue;
            }
            let silent = card.mute.swap(true, Ordering::AcqRel);
            // A command that was refused, or undone by a kill, is given again.
            let recently = self.kicked.get(client).is_some_and(|it| it.elapsed() < TIMEOUT);
            if silent && !recently && card.is_settled() {
                self.kicked.insert(*client, Instant::now());
                self.orders.kick(&self.workload, &self.seat, card);
            }
        }
    }
}
