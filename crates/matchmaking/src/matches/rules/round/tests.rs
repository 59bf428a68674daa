//! Rounds against a model of what is around them: rows, clients and game servers.

use std::collections::HashSet;

use chrono::TimeDelta;
use omgservers_api::{
    DeploymentId, UserId,
    details::ContainerFailure,
    ids::{Id, SenderSeq},
};
use omgservers_messaging::{ClientInfo, RuntimeInfo};
use omgservers_runtimes::RuntimeState;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::matches::{
    requests::{CommandSeq, TicketRequest},
    rules::restore::{StoredQueues, clients_of, restore},
};

const MODES: &str = r#"[
{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]},
{"name":"squad","min_players":2,"max_players":4,
 "groups":[{"name":"red","min_players":1,"max_players":2},{"name":"blue","min_players":1,"max_players":2}],
 "matchmaking":{"timeout":{"after":40,"then":"fail"}}},
{"name":"warm","min_players":1,"max_players":3,"min_matches":1,
 "groups":[{"name":"all","min_players":1,"max_players":3}]},
{"name":"single","min_players":2,"max_players":3,"max_matches":1,
 "groups":[{"name":"all","min_players":2,"max_players":3}]}
]"#;

const LOBBY: i64 = 900;
const SEATS: usize = 10;

/// One thing that happens between two rounds.
#[derive(Debug, Clone)]
enum Happening {
    Request {
        player: usize,
        party: usize,
        mode: usize,
    },
    Cancel {
        player: usize,
    },
    /// The player's session ends and another one begins.
    Leave {
        player: usize,
    },
    Kick {
        player: usize,
    },
    Stop {
        which: usize,
    },
    Pass {
        seconds: u64,
    },
    Health {
        which: usize,
        health: GameServerHealth,
    },
    DeleteMatchmaker,
    Review {
        active: bool,
    },
    Admit,
    /// The process ends, or a write fails: all is read from the rows.
    Restart,
}

fn any_happening() -> impl Strategy<Value = Happening> {
    use GameServerHealth::{Broken, Over, Ready, Starting};
    let player = 0..SEATS;
    prop_oneof![
        8 => (player.clone(), 1usize..3, 0usize..5)
            .prop_map(|(player, party, mode)| Happening::Request { player, party, mode }),
        1 => player.clone().prop_map(|player| Happening::Cancel { player }),
        1 => player.clone().prop_map(|player| Happening::Leave { player }),
        1 => player.prop_map(|player| Happening::Kick { player }),
        1 => (0usize..4).prop_map(|which| Happening::Stop { which }),
        1 => (1u64..45).prop_map(|seconds| Happening::Pass { seconds }),
        4 => (0usize..4, prop_oneof![6 => Just(Ready), 1 => Just(Starting), 1 => Just(Broken), 1 => Just(Over)])
            .prop_map(|(which, health)| Happening::Health { which, health }),
        1 => Just(Happening::DeleteMatchmaker),
        3 => prop::bool::weighted(0.9).prop_map(|active| Happening::Review { active }),
        3 => Just(Happening::Admit),
        1 => Just(Happening::Restart),
    ]
}

/// What is around the rounds.
struct Model {
    modes: Vec<ModeConfig>,
    matchmakers: Vec<MatchmakerId>,
    queues: Queues,
    clients: ClientFacts,
    /// The session of each player.
    players: Vec<ClientId>,
    gone: Vec<ClientId>,
    runtimes: HashMap<RuntimeId, ObservedRuntime>,
    ticket_rows: BTreeMap<TicketId, TicketRow>,
    match_rows: BTreeMap<MatchId, MatchRow>,
    last_id: i64,
    now: Ticks,
    /// Tickets that are made, and those that ended, each once.
    opened: BTreeSet<TicketId>,
    ended: BTreeSet<TicketId>,
    closed: BTreeSet<MatchId>,
    /// All changes, as text.
    changes: Vec<String>,
}

fn id<I: Id>(number: i64) -> I {
    I::from_i64(number).unwrap()
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            modes: serde_json::from_str(MODES).unwrap(),
            matchmakers: vec![id(1)],
            queues: Queues::default(),
            clients: HashMap::new(),
            players: Vec::new(),
            gone: Vec::new(),
            runtimes: HashMap::new(),
            ticket_rows: BTreeMap::new(),
            match_rows: BTreeMap::new(),
            last_id: 10_000,
            now: Ticks(1_000),
            opened: BTreeSet::new(),
            ended: BTreeSet::new(),
            closed: BTreeSet::new(),
            changes: Vec::new(),
        };
        for player in 0..SEATS {
            let session = model.new_session(player);
            model.players.push(session);
        }
        model
    }

    fn next_id<I: Id>(&mut self) -> I {
        self.last_id += 1;
        id(self.last_id)
    }

    fn new_session(&mut self, player: usize) -> ClientId {
        let client = self.next_id();
        let info = ClientInfo {
            user: id::<UserId>(i64::try_from(player).unwrap() + 1),
            deployment: id::<DeploymentId>(5),
            route: Some(id(LOBBY)),
            assignment: 1,
            closed: false,
            last_seen: Ticks(0),
            unconsumed_bytes: 0,
            pending_bytes: 0,
        };
        self.clients.insert(client, info);
        client
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(i64::try_from(self.now.0).unwrap())
    }

    fn happen(&mut self, happening: &Happening) {
        let mut input = RoundInput::default();
        match happening {
            Happening::Request { player, party, mode } => {
                let client = self.players[*player];
                let lobby = self.clients[&client].route.unwrap_or(id(LOBBY));
                let members = self.players.iter().cycle().skip(*player).take(*party);
                let request = TicketRequest {
                    clients: members.copied().collect(),
                    lobby,
                    counter: CommandSeq { seq: Some(SenderSeq(1)), ..CommandSeq::default() },
                    mode: self.modes.get(*mode).map_or("nothing", |it| &it.name).to_owned(),
                    attributes: Attributes::default(),
                };
                input.ticket_ids.push_back(self.next_id());
                input.requests.push(MatchmakerRequest::Add(request, oneshot::channel().0));
            }
            Happening::Cancel { player } => {
                let cancel =
                    MatchmakerRequest::Cancel(self.players[*player], Reason::Cancelled, oneshot::channel().0);
                input.requests.push(cancel);
            }
            Happening::Leave { player } => {
                let client = self.players[*player];
                let info = self.clients.get_mut(&client).unwrap();
                (info.closed, info.route) = (true, None);
                self.gone.push(client);
                self.players[*player] = self.new_session(*player);
            }
            Happening::Kick { player } => {
                let client = self.players[*player];
                if let Some(runtime) = self.clients[&client].route {
                    input.requests.push(MatchmakerRequest::Leave(runtime, client, oneshot::channel().0));
                }
            }
            Happening::Stop { which } => {
                if let Some(found) = self.queues.matches.values().nth(*which) {
                    input.requests.push(MatchmakerRequest::Stop(found.runtime, oneshot::channel().0));
                }
            }
            Happening::Pass { seconds } => self.now = self.now.plus(Duration::from_secs(*seconds)),
            Happening::Health { which, health } => return self.set_health(*which, *health),
            Happening::DeleteMatchmaker => {
                let next = self.next_id();
                self.matchmakers = vec![next];
            }
            Happening::Review { active } => input.review = Some(self.review(*active)),
            Happening::Admit => return self.admit(),
            Happening::Restart => return self.restart(),
        }
        input.gone = std::mem::take(&mut self.gone);
        self.round(input);
    }

    fn review(&mut self, active: bool) -> Review {
        for opened in self.queues.matches.values_mut().filter(|it| !it.opened && !it.closing) {
            opened.opened = true;
            self.runtimes
                .entry(opened.runtime)
                .or_insert_with(|| observed(GameServerHealth::Starting, Ticks(0)));
        }
        Review {
            active,
            runtimes: self.runtimes.clone(),
            start_timeout: Duration::from_secs(120),
            max_idle: Duration::from_secs(100_000),
        }
    }

    fn set_health(&mut self, which: usize, health: GameServerHealth) {
        if let Some(found) = self.queues.matches.values().nth(which) {
            self.runtimes.insert(found.runtime, observed(health, self.now));
        }
    }

    /// As the caller of rounds does it, with few ids at a time.
    fn round(&mut self, mut input: RoundInput) {
        loop {
            for _ in 0..2 {
                let new = NewMatchIds { id: self.next_id(), runtime: self.next_id() };
                self.queues.new_ids.ids.push_back(new);
            }
            let (count, wall) = (input.requests.len(), self.wall());
            let facts = RoundFacts {
                modes: &self.modes,
                matchmakers: &self.matchmakers,
                clients: &self.clients,
                max_tickets: 6,
                is_logged: false,
                now: self.now,
                wall,
            };
            let changes = decide(&mut self.queues, &facts, std::mem::take(&mut input)).unwrap();
            assert_eq!(changes.answers.len(), count, "each request has one answer");
            self.apply(changes);
            if self.queues.new_ids.short.is_empty() {
                return;
            }
        }
    }

    fn restart(&mut self) {
        let former = std::mem::take(&mut self.queues);
        self.queues.failures = former.failures;
        let stored = StoredQueues {
            matches: self.match_rows.values().cloned().collect(),
            tickets: self.ticket_rows.values().cloned().collect(),
        };
        assert!(clients_of(&stored.tickets).unwrap().iter().all(|it| self.clients.contains_key(it)));
        for _ in &stored.tickets {
            let new = NewMatchIds { id: self.next_id(), runtime: self.next_id() };
            self.queues.new_ids.ids.push_back(new);
        }
        let mut members: HashMap<RuntimeId, Vec<ClientId>> = HashMap::new();
        for (client, info) in self.clients.iter().collect::<BTreeMap<_, _>>() {
            members.entry(info.route.unwrap_or(id(LOBBY))).or_default().push(*client);
        }
        let facts = RoundFacts {
            modes: &self.modes,
            matchmakers: &self.matchmakers,
            clients: &self.clients,
            max_tickets: 6,
            is_logged: false,
            now: self.now,
            wall: self.wall(),
        };
        let changes = restore(&mut self.queues, &facts, stored, &former, &members).unwrap();
        self.apply(changes);
        self.gone.clear();
    }

    /// As `apply_changes` does it.
    fn apply(&mut self, changes: Changes) {
        self.changes.push(format!("{changes:?}"));
        for row in changes.matches {
            self.match_rows.insert(row.id, row);
        }
        for row in changes.tickets {
            self.ticket_rows.insert(row.id, row);
        }
        for answer in changes.answers {
            if let RequestAnswer::Ticket { reply: RequestReply { result: Ok(ticket), .. }, .. } = answer {
                self.opened.insert(ticket);
            }
        }
        for ticket in changes.ended.into_iter().chain(changes.failed_tickets) {
            assert!(self.ticket_rows.remove(&ticket).is_some(), "an ended ticket has a row");
            assert!(self.ended.insert(ticket), "a ticket ends once");
        }
        for (client, runtime) in changes.leaving {
            let info = self.clients.get_mut(&client).unwrap();
            assert_eq!((info.route, info.closed), (Some(runtime), false), "it was there");
            info.route = Some(id(LOBBY));
        }
        for (id_of_match, runtime) in changes.closing {
            assert!(self.closed.insert(id_of_match), "a match is closed once");
            for info in self.clients.values_mut().filter(|it| it.route == Some(runtime)) {
                info.route = Some(id(LOBBY));
            }
            self.match_rows.remove(&id_of_match).unwrap();
            let gone: Vec<TicketId> = self
                .ticket_rows
                .values()
                .filter(|it| it.match_id == Some(id_of_match))
                .map(|it| it.id)
                .collect();
            for ticket in gone {
                self.ticket_rows.remove(&ticket);
                assert!(self.ended.insert(ticket), "a ticket ends once");
            }
            self.runtimes.remove(&runtime);
            self.queues.forget(id_of_match);
        }
        self.queues.loaded = true;
        let named: Vec<MatchmakingFailure> = changes.failures.into_iter().map(|it| it.1).collect();
        assert!(named.iter().all(|it| !it.detail.is_empty()), "each failure has a reason");
    }

    fn admit(&mut self) {
        for ticket in self.queues.joining(|it| self.clients.get(&it).copied()) {
            let runtime = self.queues.matches[&ticket.match_id].runtime;
            for (client, _) in &ticket.clients {
                self.clients.get_mut(client).unwrap().route = Some(runtime);
            }
            self.queues.join(ticket.id, ticket.match_id);
        }
    }

    fn check(&self) {
        self.check_matches();
        let queued: BTreeSet<TicketId> =
            self.queues.pools.values().flat_map(Pool::tickets).map(|it| it.id).collect();
        for (id, entry) in &self.queues.tickets {
            let is_queued = matches!(entry.state, TicketState::Queued);
            assert_eq!(queued.contains(id), is_queued, "a queued ticket is in a pool, and no other");
            if let TicketState::Matched { match_id, .. } = &entry.state {
                let found = &self.queues.matches[match_id];
                let (joined, pending) = (found.joined.contains(id), found.pending_join.contains(id));
                assert!(joined != pending, "a matched ticket has joined or is about to");
            }
            let row = &self.ticket_rows[id];
            let stored = row.match_id.is_some();
            assert!(stored != is_queued && row.ending.is_none(), "the row of {id} is {row:?}");
        }
        let known: BTreeSet<TicketId> = self.queues.tickets.keys().copied().collect();
        assert_eq!(known, self.ticket_rows.keys().copied().collect(), "memory has what the rows have");
        let open: BTreeSet<TicketId> = self.opened.difference(&self.ended).copied().collect();
        assert_eq!(known, open, "each ticket waits, is matched, or has ended once");
        let stored: BTreeSet<MatchId> = self.match_rows.keys().copied().collect();
        assert_eq!(stored, self.queues.matches.keys().copied().collect(), "all matches have rows");
    }

    fn check_matches(&self) {
        let mut seen = HashSet::new();
        let mut full: HashMap<usize, u32> = HashMap::new();
        for (id, found) in &self.queues.matches {
            let mode = &self.modes[found.queue.1];
            let mut groups: HashMap<usize, usize> = HashMap::new();
            for ticket in found.joined.iter().chain(&found.pending_join) {
                let entry = &self.queues.tickets[ticket];
                let TicketState::Matched { match_id, group, .. } = entry.state else {
                    panic!("{ticket} isn't matched");
                };
                assert_eq!(match_id, *id);
                assert!(entry.clients.iter().all(|it| seen.insert(*it)), "a client has one ticket");
                *groups.entry(group).or_default() += entry.clients.len();
            }
            let players: usize = groups.values().sum();
            let most = |count: u32| usize::try_from(count).unwrap();
            assert!(players <= most(mode.max_players), "{players} players in a {}", mode.name);
            for (group, count) in groups {
                assert!(count <= most(mode.groups[group].max_players), "no group above its seats");
            }
            if players > 0 {
                *full.entry(found.queue.1).or_default() += 1;
            }
        }
        for (mode, count) in full {
            // A deleted matchmaker's matches go on beside those of the next one.
            let bound = self.modes[mode].max_matches.filter(|_| self.matchmakers == [id(1)]);
            assert!(bound.is_none_or(|most| count <= most), "{count} matches of {}", self.modes[mode].name);
        }
    }
}

fn observed(health: GameServerHealth, now: Ticks) -> ObservedRuntime {
    let polled = |last_seen| RuntimeInfo {
        deployment: id(5),
        clients: 0,
        opened: 1,
        last_seen,
        last_seq: None,
        unconsumed_bytes: 0,
    };
    let running = RuntimeState::Running { started: DateTime::UNIX_EPOCH, since: now, published: None };
    let (mailbox, state) = match health {
        GameServerHealth::Starting => (Some(polled(None)), RuntimeState::Starting { failures: 0 }),
        GameServerHealth::Ready => (Some(polled(Some(now))), running),
        GameServerHealth::Broken => (Some(polled(None)), RuntimeState::Stopping),
        GameServerHealth::Over => {
            let ended = ContainerFailure {
                at: DateTime::UNIX_EPOCH,
                reason: "it ended".to_owned(),
                exit_code: Some(0),
                out_of_memory: false,
                log_tail: String::new(),
            };
            (Some(polled(Some(now))), RuntimeState::Failed(ended))
        }
    };
    ObservedRuntime { mailbox, state: Some(state) }
}

fn played(happenings: &[Happening]) -> Model {
    let mut model = Model::new();
    for happening in happenings {
        model.happen(happening);
        model.check();
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rounds_keep_every_bound_and_lose_no_ticket(
        happenings in prop::collection::vec(any_happening(), 1..60)
    ) {
        let mut model = played(&happenings);
        // With healthy game servers and time every match fills or ends, and nothing is left over.
        for player in 0..SEATS {
            model.happen(&Happening::Leave { player });
        }
        for _ in 0..4 {
            model.happen(&Happening::Pass { seconds: 120 });
            model.happen(&Happening::Review { active: false });
            model.check();
        }
        prop_assert!(model.queues.tickets.is_empty(), "no ticket outlives its clients");
        prop_assert!(model.queues.matches.is_empty(), "no match outlives its players");
    }

    #[test]
    fn the_same_input_gives_the_same_changes(
        happenings in prop::collection::vec(any_happening(), 1..40)
    ) {
        prop_assert_eq!(played(&happenings).changes, played(&happenings).changes);
    }
}

/// Requests of two players for a duel.
fn duel() -> Model {
    played(&[
        Happening::Request { player: 0, party: 1, mode: 0 },
        Happening::Request { player: 1, party: 1, mode: 0 },
    ])
}

#[test]
fn two_tickets_make_a_match_and_wait_for_its_game_server() {
    let mut model = duel();
    assert_eq!((model.queues.matches.len(), model.queues.queued()), (1, 0));
    model.happen(&Happening::Admit);
    assert_eq!(model.queues.waiting(), 2, "its game server doesn't poll yet");
    model.happen(&Happening::Review { active: true });
    model.happen(&Happening::Health { which: 0, health: GameServerHealth::Ready });
    model.happen(&Happening::Review { active: true });
    model.happen(&Happening::Admit);
    assert_eq!(model.queues.waiting(), 0);
    model.check();
}

#[test]
fn a_match_that_breaks_before_it_begins_gives_its_tickets_their_old_positions() {
    let mut model = duel();
    let tickets: BTreeSet<TicketId> = model.queues.tickets.keys().copied().collect();
    model.happen(&Happening::Review { active: true });
    model.happen(&Happening::Health { which: 0, health: GameServerHealth::Broken });
    model.happen(&Happening::Review { active: true });
    assert_eq!((model.closed.len(), model.queues.queued()), (1, 2), "the next plan says when");
    model.happen(&Happening::Review { active: true });
    let used = model.queues.matches.values().filter(|it| it.used).count();
    assert_eq!(used, 1, "the first failure costs no pause");
    assert_eq!(tickets, model.queues.tickets.keys().copied().collect());
    model.check();
}

#[test]
fn a_match_that_lacks_an_id_forms_in_the_next_pass() {
    let mut model = Model::new();
    let (modes, matchmakers) = (model.modes.clone(), model.matchmakers.clone());
    let clients = model.clients.clone();
    let facts = RoundFacts {
        modes: &modes,
        matchmakers: &matchmakers,
        clients: &clients,
        max_tickets: 6,
        is_logged: false,
        now: model.now,
        wall: model.wall(),
    };
    let mut input = RoundInput::default();
    for player in 0..2 {
        let clients = vec![model.players[player]];
        let (mode, attributes) = ("duel".to_owned(), Attributes::default());
        let counter = CommandSeq::default();
        let request = TicketRequest { clients, lobby: id(LOBBY), counter, mode, attributes };
        input.ticket_ids.push_back(model.next_id());
        input.requests.push(MatchmakerRequest::Add(request, oneshot::channel().0));
    }
    let changes = decide(&mut model.queues, &facts, input).unwrap();
    assert_eq!((changes.matches.len(), changes.tickets.len()), (0, 2));
    assert_eq!(model.queues.new_ids.short.len(), 1);
    model.queues.new_ids.ids.push_back(NewMatchIds { id: id(1), runtime: id(2) });
    let changes = decide(&mut model.queues, &facts, RoundInput::default()).unwrap();
    assert_eq!((changes.matches.len(), changes.tickets.len()), (1, 2));
    assert!(model.queues.new_ids.short.is_empty());
}
