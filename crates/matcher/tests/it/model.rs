//! The pool does exactly what the brute-force reference does, in any story.
use std::collections::BTreeMap;

use omgservers_api::{
    MatchId, Validate as _,
    config::{
        AfterTimeout, EqualExpansion, EqualRule, GroupConfig, MatchRule, MatchRules, ModeConfig, PartyConfig,
        RangeExpansion, RangeRule, TimeoutConfig, VersionConfig,
    },
    interchange::Attribute,
};
use omgservers_matcher::{Effect, Millis, Pool, Seat, Ticket};
use proptest::{prelude::*, sample::Index};

use crate::{FIRST_FORMED, client, counting, id, match_id, reference::Reference};

/// More would make the reference slow.
const MOST_WAITING: usize = 7;

#[derive(Debug, Clone)]
enum Call {
    Add { size: usize, skill: u8, ping: u8, region: Option<bool>, waited: i64, position: u8 },
    Wait(i64),
    Cancel(Index),
    Leave(Index, Index),
    Close(Index),
    Limit(Option<u32>),
    Put(Vec<(u8, u8, bool, Index)>),
}

fn call() -> impl Strategy<Value = Call> {
    let add = (
        1..4_usize,
        0..8_u8,
        0..4_u8,
        any::<Option<bool>>(),
        prop_oneof![4 => Just(0), 1 => 0..9_i64],
        any::<u8>(),
    );
    let seats = prop::collection::vec((0..8_u8, 0..4_u8, any::<bool>(), any::<Index>()), 0..4);
    prop_oneof![
        16 => add.prop_map(|it| Call::Add { size: it.0, skill: it.1, ping: it.2, region: it.3, waited: it.4, position: it.5 }),
        4 => (1..5_i64).prop_map(Call::Wait),
        1 => any::<Index>().prop_map(Call::Cancel),
        2 => any::<(Index, Index)>().prop_map(|it| Call::Leave(it.0, it.1)),
        1 => any::<Index>().prop_map(Call::Close),
        1 => prop_oneof![Just(None), Just(Some(0)), Just(Some(1))].prop_map(Call::Limit),
        1 => seats.prop_map(Call::Put),
    ]
}

fn range(name: &'static str, attribute: &'static str) -> impl Strategy<Value = RangeRule> {
    let expansions =
        prop_oneof![Just(vec![]), Just(vec![(2, Some(3.0))]), Just(vec![(2, Some(3.0)), (4, None)])];
    (0..4_u8, expansions).prop_map(move |(most, expansions)| RangeRule {
        name: name.to_owned(),
        attribute: attribute.to_owned(),
        max_difference: f64::from(most),
        default: None,
        expansions: expansions
            .into_iter()
            .map(|(after, max_difference)| RangeExpansion { after, max_difference })
            .collect(),
    })
}

fn equal() -> impl Strategy<Value = MatchRule> {
    prop_oneof![Just(None), (1..4_u32).prop_map(Some)].prop_map(|after| {
        MatchRule::Equal(EqualRule {
            name: "region".to_owned(),
            attribute: "region".to_owned(),
            expansion: after.map(|after| EqualExpansion { after }),
        })
    })
}

fn rules() -> impl Strategy<Value = Vec<MatchRule>> {
    let skill = prop::option::of(range("skill", "skill").prop_map(MatchRule::Range));
    let ping = prop::option::weighted(0.2, range("ping", "ping").prop_map(MatchRule::Range));
    let balance = prop::option::weighted(0.3, range("balance", "skill").prop_map(MatchRule::TeamBalance));
    let region = prop::option::weighted(0.4, equal());
    (skill, ping, balance, region).prop_map(|it| [it.0, it.1, it.2, it.3].into_iter().flatten().collect())
}

fn timeout() -> impl Strategy<Value = Option<TimeoutConfig>> {
    let then =
        prop_oneof![Just(AfterTimeout::Fail), Just(AfterTimeout::Relax), Just(AfterTimeout::StartSmaller)];
    prop::option::of((2..6_u32, then, prop::option::of(6..9_u32), 1..4_u32).prop_map(
        |(after, then, fail, min)| TimeoutConfig {
            after,
            then,
            fail_after: fail.filter(|_| then != AfterTimeout::Fail),
            min_players: (then == AfterTimeout::StartSmaller).then_some(min),
        },
    ))
}

fn mode() -> impl Strategy<Value = ModeConfig> {
    let groups = prop::collection::vec((1..4_u32, 0..3_u32), 1..4);
    (1..5_u32, 0..3_u32, groups, 1..4_u32, rules(), timeout()).prop_filter_map(
        "valid",
        |(min_players, more, groups, max_size, rules, timeout)| {
            let group = |(index, (min_players, more)): (usize, (u32, u32))| GroupConfig {
                name: index.to_string(),
                min_players,
                max_players: min_players + more,
            };
            let mode = ModeConfig {
                name: "mode".to_owned(),
                min_players,
                max_players: min_players + more,
                groups: groups.into_iter().enumerate().map(group).collect(),
                matchmaking: Some(MatchRules { party: Some(PartyConfig { max_size }), rules, timeout }),
                min_matches: 0,
                max_matches: None,
            };
            let version = VersionConfig { modes: vec![mode.clone()], user_data: None, deployment: None };
            version.validate().is_ok().then_some(mode)
        },
    )
}

fn attributes(skill: u8, ping: u8, region: Option<bool>) -> BTreeMap<String, Attribute> {
    let mut attributes = BTreeMap::from([
        ("skill".to_owned(), Attribute::Number(f64::from(skill))),
        ("ping".to_owned(), Attribute::Number(f64::from(ping))),
    ]);
    attributes.extend(region.map(|it| ("region".to_owned(), Attribute::Flag(it))));
    attributes
}

struct ModelFixture {
    mode: ModeConfig,
    pool: Pool,
    reference: Reference,
    now: Millis,
    next: i64,
    /// The last match that was put, and the last one that formed: these are younger.
    put: i64,
    formed: i64,
}

impl ModelFixture {
    fn new(mode: ModeConfig) -> Self {
        let (pool, reference) = (Pool::new(&mode), Reference::new(mode.clone()));
        Self { mode, pool, reference, now: Millis(0), next: 1, put: 0, formed: FIRST_FORMED - 1 }
    }

    fn advance(&mut self, now: Millis) -> Vec<Effect> {
        self.pool.advance(now, &mut counting(&mut self.formed))
    }

    fn client(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self, step: Call) {
        match step {
            Call::Add { size, skill, ping, region, waited, position } => {
                if self.reference.tickets().len() < MOST_WAITING {
                    let clients = (0..size).map(|_| client(self.client())).collect();
                    let attributes = attributes(skill, ping, region);
                    let entered = self.now.plus(-waited * 1000);
                    let ticket = Ticket {
                        id: id(self.client()),
                        position: position.into(),
                        clients,
                        attributes,
                        entered,
                    };
                    self.add(ticket);
                }
            }
            Call::Wait(seconds) => {
                self.now = self.now.plus(seconds * 1000);
                let effects = self.pool.advance(self.now, &mut counting(&mut self.formed));
                self.reference.expect(effects);
                self.reference.advance(self.now);
            }
            Call::Cancel(index) => {
                let waiting = self.reference.tickets();
                if !waiting.is_empty() {
                    let ticket = index.get(&waiting);
                    assert_eq!(self.pool.cancel(ticket.id).as_ref(), Some(ticket));
                    self.reference.cancel(ticket.id);
                }
            }
            Call::Limit(limit) => {
                let effects = self.pool.limit(limit, self.now, &mut counting(&mut self.formed));
                self.reference.expect(effects);
                self.reference.limit(limit);
            }
            Call::Put(seats) => self.put(seats),
            Call::Leave(..) | Call::Close(_) => self.change_match(&step),
        }
        self.check();
    }

    fn add(&mut self, ticket: Ticket) {
        let added = self.pool.add(ticket.clone(), self.now, &mut counting(&mut self.formed));
        match added {
            Ok(effects) => {
                self.reference.expect(effects);
                self.reference.add(ticket, self.now);
            }
            Err(refusal) => {
                let most = self.mode.matchmaking.as_ref().unwrap().party.as_ref().unwrap().max_size;
                let most = most.min(self.mode.max_players);
                assert!(ticket.clients.len() > usize::try_from(most).unwrap(), "{refusal}");
            }
        }
    }

    fn put(&mut self, desired: Vec<(u8, u8, bool, Index)>) {
        let mut seats: Vec<Seat> = Vec::new();
        for (skill, ping, region, group) in desired {
            let group = group.index(self.mode.groups.len());
            let taken = seats.iter().filter(|it| it.group == group).count();
            let full = seats.len() >= usize::try_from(self.mode.max_players).unwrap();
            if !full && taken < usize::try_from(self.mode.groups[group].max_players).unwrap() {
                let attributes = attributes(skill, ping, Some(region));
                seats.push(Seat { client: client(self.client()), group, attributes });
            }
        }
        // Below those that form, and above the last one that was put.
        self.put += 1;
        let key = match_id(self.put);
        let effects = self.pool.put_match(key, seats.clone(), self.now, &mut counting(&mut self.formed));
        self.reference.expect(effects);
        self.reference.put(key, seats);
    }

    fn change_match(&mut self, step: &Call) {
        let keys: Vec<MatchId> = self.reference.matches.keys().copied().collect();
        match step {
            Call::Leave(index, seat) if !keys.is_empty() => {
                let key = *index.get(&keys);
                let seats = self.reference.matches[&key].clone();
                if !seats.is_empty() {
                    let client = seat.get(&seats).client;
                    let effects = self.pool.leave(key, client, self.now, &mut counting(&mut self.formed));
                    self.reference.expect(effects);
                    self.reference.leave(key, client);
                }
            }
            Call::Close(index) if !keys.is_empty() => {
                let key = *index.get(&keys);
                assert!(self.pool.close_match(key));
                self.reference.matches.remove(&key);
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        assert!(self.reference.is_done(), "the pool did more than expected");
        let waiting: Vec<Ticket> = self.pool.tickets().cloned().collect();
        assert_eq!(waiting, self.reference.tickets());
        assert_eq!(self.pool.next_deadline(), self.reference.next_deadline());
        if let Some(deadline) = self.pool.next_deadline() {
            assert!(deadline > self.now, "what was due is done");
        }
        let mut clients: Vec<_> = waiting.iter().flat_map(|it| &it.clients).copied().collect();
        clients.extend(self.reference.matches.values().flatten().map(|it| it.client));
        clients.sort_unstable();
        assert!(clients.windows(2).all(|it| it[0] != it[1]), "a client is somewhere twice");
        for ticket in &waiting {
            let explanation = self.pool.explain(ticket.id, self.now).unwrap();
            let due =
                [explanation.deadline.map(|it| it.in_ms), explanation.next_expansion.map(|it| it.in_ms)];
            let next = due.into_iter().flatten().min().map(|it| self.now.plus(it));
            assert!(next >= self.pool.next_deadline() || next.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sizes, groups, rules, parties, order, completeness, deadlines, and that every ticket ends in
    /// one way.
    #[test]
    fn the_pool_does_what_the_reference_does(mode in mode(), steps in prop::collection::vec(call(), 1..40)) {
        let mut both = ModelFixture::new(mode);
        for step in steps {
            both.take(step);
        }
    }

    /// Nothing happens before the deadline, and one call late is as good as many in time.
    #[test]
    fn late_is_as_good_as_in_time(mode in mode(), steps in prop::collection::vec(call(), 1..30), seconds in 1..20_i64) {
        let (mut one, mut other) = (ModelFixture::new(mode.clone()), ModelFixture::new(mode));
        for step in steps {
            one.take(step.clone());
            other.take(step);
        }
        let end = one.now.plus(seconds * 1000);
        let late = one.advance(end);
        let mut in_time: Vec<Effect> = Vec::new();
        while let Some(next) = other.pool.next_deadline().filter(|it| *it <= end) {
            prop_assert_eq!(other.advance(next.plus(-1)), vec![]);
            in_time.extend(other.advance(next));
        }
        prop_assert_eq!(late, in_time);
    }
}
