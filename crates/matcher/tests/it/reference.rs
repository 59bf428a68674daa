//! The rules by brute force: every subset of what waits, every arrangement in groups. Slow and
//! short.

use std::collections::BTreeMap;

use omgservers_api::{
    ClientId, MatchId, TicketId,
    config::{AfterTimeout, MatchRule, ModeConfig, RangeRule},
    interchange::{Attribute, Attributes},
};
use omgservers_matcher::{Effect, Millis, Placement, Seat, Ticket};

use crate::{FIRST_FORMED, match_id};

#[derive(Debug, Clone)]
struct QueuedTicket {
    ticket: Ticket,
    /// How long it had waited when its limits were looked at the last time.
    waited: i64,
}

pub(crate) struct Reference {
    mode: ModeConfig,
    waiting: Vec<QueuedTicket>,
    pub(crate) matches: BTreeMap<MatchId, Vec<Seat>>,
    pub(crate) limit: Option<u32>,
    next: i64,
    /// What the pool did, to take over its groups after they were checked.
    done: std::vec::IntoIter<Effect>,
}

fn number(rule: &RangeRule, attributes: &Attributes) -> f64 {
    match attributes.get(&rule.attribute) {
        Some(Attribute::Number(number)) => *number,
        _ => rule.default.unwrap(),
    }
}

fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    if values.is_empty() { 0.0 } else { most - least }
}

impl Reference {
    pub(crate) fn new(mode: ModeConfig) -> Self {
        Self {
            mode,
            waiting: Vec::new(),
            matches: BTreeMap::new(),
            limit: None,
            next: FIRST_FORMED,
            done: Vec::new().into_iter(),
        }
    }

    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        self.waiting.iter().map(|it| it.ticket.clone()).collect()
    }

    /// From here on it is compared with this.
    pub(crate) fn expect(&mut self, done: Vec<Effect>) {
        assert!(self.done.next().is_none(), "the pool did more than expected");
        self.done = done.into_iter();
    }

    pub(crate) fn is_done(&mut self) -> bool {
        self.done.next().is_none()
    }

    fn offsets(&self) -> Vec<i64> {
        let rules = self.mode.matchmaking.clone().unwrap_or_default();
        let mut all: Vec<i64> = Vec::new();
        for rule in &rules.rules {
            match rule {
                MatchRule::Range(rule) | MatchRule::TeamBalance(rule) => {
                    all.extend(rule.expansions.iter().map(|it| i64::from(it.after) * 1000));
                }
                MatchRule::Equal(rule) => {
                    all.extend(rule.expansion.iter().map(|it| i64::from(it.after) * 1000))
                }
            }
        }
        if let Some(timeout) = &rules.timeout {
            all.push(i64::from(timeout.after) * 1000);
            all.extend(timeout.fail_after.map(|it| i64::from(it) * 1000));
        }
        all.sort_unstable();
        all
    }

    fn end(&self) -> Option<i64> {
        let timeout = self.mode.matchmaking.as_ref()?.timeout.as_ref()?;
        let end = if timeout.then == AfterTimeout::Fail { Some(timeout.after) } else { timeout.fail_after };
        end.map(|it| i64::from(it) * 1000)
    }

    fn due(&self, ticket: &QueuedTicket) -> Option<Millis> {
        let next = self.offsets().into_iter().find(|after| *after > ticket.waited);
        next.map(|after| ticket.ticket.entered.plus(after))
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.waiting.iter().filter_map(|it| self.due(it)).min()
    }

    pub(crate) fn advance(&mut self, now: Millis) {
        loop {
            let dues =
                self.waiting.iter().filter_map(|it| Some((self.due(it)?, it.ticket.position, it.ticket.id)));
            let Some((due, _, id)) = dues.min().filter(|it| it.0 <= now) else { return };
            let index = self.waiting.iter().position(|it| it.ticket.id == id).unwrap();
            let waited = due.since(self.waiting[index].ticket.entered);
            if self.end().is_some_and(|it| waited >= it) {
                self.waiting.remove(index);
                let Some(Effect::Expire { ticket }) = self.done.next() else { panic!("{id} expires") };
                assert_eq!(ticket.id, id);
                continue;
            }
            self.waiting[index].waited = waited;
            self.match_up(id);
        }
    }

    pub(crate) fn add(&mut self, ticket: Ticket, now: Millis) {
        self.advance(now);
        let id = ticket.id;
        // One that came back too late is tried with what it was allowed before its end.
        let waited = now.since(ticket.entered).min(self.end().map_or(i64::MAX, |it| it - 1));
        self.waiting.push(QueuedTicket { waited, ticket });
        self.waiting.sort_by_key(|it| (it.ticket.position, it.ticket.id));
        self.match_up(id);
        self.advance(now);
    }

    pub(crate) fn cancel(&mut self, id: TicketId) {
        self.waiting.retain(|it| it.ticket.id != id);
    }

    pub(crate) fn leave(&mut self, key: MatchId, client: ClientId) {
        self.matches.get_mut(&key).unwrap().retain(|it| it.client != client);
        self.refill(key);
    }

    pub(crate) fn put(&mut self, key: MatchId, seats: Vec<Seat>) {
        self.matches.insert(key, seats);
        self.refill(key);
    }

    pub(crate) fn limit(&mut self, matches: Option<u32>) {
        self.limit = matches;
        for ticket in self.tickets() {
            self.form(ticket.id);
        }
    }

    fn match_up(&mut self, id: TicketId) {
        let keys: Vec<MatchId> = self.matches.keys().copied().collect();
        for key in keys {
            if let Some(found) = self.joins(&self.matches[&key], id) {
                self.seat(false, key, &found);
                self.refill(key);
                return;
            }
        }
        self.form(id);
    }

    fn form(&mut self, id: TicketId) {
        if self.limit == Some(0) || !self.waiting.iter().any(|it| it.ticket.id == id) {
            return;
        }
        if let Some(found) = self.first(&[], id) {
            self.limit = self.limit.map(|it| it - 1);
            let key = match_id(self.next);
            self.next += 1;
            self.matches.insert(key, Vec::new());
            self.seat(true, key, &found);
            self.refill(key);
        }
    }

    fn refill(&mut self, key: MatchId) {
        'again: loop {
            for ticket in self.tickets() {
                if let Some(found) = self.joins(&self.matches[&key], ticket.id) {
                    self.seat(false, key, &found);
                    continue 'again;
                }
            }
            return;
        }
    }

    fn joins(&self, seats: &[Seat], id: TicketId) -> Option<Vec<TicketId>> {
        let alone: Vec<&QueuedTicket> = self.waiting.iter().filter(|it| it.ticket.id == id).collect();
        if self.is_legal(seats, &alone) {
            return Some(vec![id]);
        }
        if self.is_full(seats) { None } else { self.first(seats, id) }
    }

    /// It has the players that the mode asks for.
    fn is_full(&self, seats: &[Seat]) -> bool {
        seats.len() >= usize::try_from(self.mode.min_players).unwrap()
            && self.mode.groups.iter().enumerate().all(|(index, it)| count(seats, index) >= it.min_players)
    }

    /// Of all legal sets with this ticket, the one with the earliest tickets.
    fn first(&self, seats: &[Seat], id: TicketId) -> Option<Vec<TicketId>> {
        let mut best: Option<Vec<usize>> = None;
        for bits in 0..1_u32 << self.waiting.len() {
            let chosen: Vec<usize> = (0..self.waiting.len()).filter(|it| bits >> it & 1 == 1).collect();
            let set: Vec<&QueuedTicket> = chosen.iter().map(|it| &self.waiting[*it]).collect();
            if !set.iter().any(|it| it.ticket.id == id) {
                continue;
            }
            let better = best.as_ref().is_none_or(|best| {
                let differ = chosen.iter().zip(best).find(|it| it.0 != it.1);
                differ.map_or(chosen.len() > best.len(), |it| it.0 < it.1)
            });
            if better && self.is_legal(seats, &set) {
                best = Some(chosen);
            }
        }
        best.map(|it| it.into_iter().map(|it| self.waiting[it].ticket.id).collect())
    }

    /// Everything that is asked of tickets that join a match together.
    fn is_legal(&self, seats: &[Seat], set: &[&QueuedTicket]) -> bool {
        let sizes: Vec<usize> = set.iter().map(|it| it.ticket.clients.len()).collect();
        let total = seats.len() + sizes.iter().sum::<usize>();
        if total > usize::try_from(self.mode.max_players).unwrap() {
            return false;
        }
        if set.iter().any(|it| it.ticket.clients.iter().any(|it| seats.iter().any(|seat| seat.client == *it)))
        {
            return false;
        }
        set.iter().all(|it| self.is_content(it, seats, set)) && self.arrangements(seats, set).next().is_some()
    }

    fn timed_out(&self, ticket: &QueuedTicket, then: AfterTimeout) -> bool {
        let timeout = self.mode.matchmaking.as_ref().and_then(|it| it.timeout.as_ref());
        timeout
            .is_some_and(|timeout| timeout.then == then && i64::from(timeout.after) * 1000 <= ticket.waited)
    }

    fn limit_of(&self, rule: &RangeRule, ticket: &QueuedTicket) -> f64 {
        let mut limit = rule.max_difference;
        for expansion in &rule.expansions {
            if i64::from(expansion.after) * 1000 <= ticket.waited {
                limit = expansion.max_difference.unwrap_or(f64::INFINITY);
            }
        }
        if self.timed_out(ticket, AfterTimeout::Relax) { f64::INFINITY } else { limit }
    }

    /// Ranges and equal values, with the limits of this ticket.
    fn is_content(&self, ticket: &QueuedTicket, seats: &[Seat], set: &[&QueuedTicket]) -> bool {
        let all = || seats.iter().map(|it| &it.attributes).chain(set.iter().map(|it| &it.ticket.attributes));
        let rules = self.mode.matchmaking.clone().unwrap_or_default().rules;
        rules.iter().all(|rule| match rule {
            MatchRule::Range(rule) => spread(all().map(|it| number(rule, it))) <= self.limit_of(rule, ticket),
            MatchRule::TeamBalance(_) => true,
            MatchRule::Equal(rule) => {
                let given_up =
                    rule.expansion.as_ref().is_some_and(|that| i64::from(that.after) * 1000 <= ticket.waited);
                let mine = ticket.ticket.attributes.get(&rule.attribute);
                given_up
                    || self.timed_out(ticket, AfterTimeout::Relax)
                    || all().all(|it| it.get(&rule.attribute) == mine)
            }
        })
    }

    /// All arrangements into groups that keep sizes and balance.
    fn arrangements<'a>(
        &'a self,
        seats: &'a [Seat],
        set: &'a [&QueuedTicket],
    ) -> impl Iterator<Item = Vec<usize>> + 'a {
        let groups = self.mode.groups.len();
        let arrangements = groups.pow(u32::try_from(set.len()).unwrap());
        (0..arrangements)
            .map(move |arrangement| {
                (0..set.len())
                    .map(|it| arrangement / groups.pow(u32::try_from(it).unwrap()) % groups)
                    .collect()
            })
            .filter(move |it: &Vec<usize>| self.is_arranged(seats, set, it))
    }

    fn after(seats: &[Seat], set: &[&QueuedTicket], arrangement: &[usize]) -> Vec<Seat> {
        let joined = set.iter().zip(arrangement).flat_map(|(ticket, group)| {
            let seat = |client: &ClientId| Seat {
                client: *client,
                group: *group,
                attributes: ticket.ticket.attributes.clone(),
            };
            ticket.ticket.clients.iter().map(seat).collect::<Vec<_>>()
        });
        seats.iter().cloned().chain(joined).collect()
    }

    fn is_arranged(&self, seats: &[Seat], set: &[&QueuedTicket], arrangement: &[usize]) -> bool {
        let after = Self::after(seats, set, arrangement);
        let counts: Vec<u32> = (0..self.mode.groups.len()).map(|it| count(&after, it)).collect();
        if counts.iter().zip(&self.mode.groups).any(|it| *it.0 > it.1.max_players) {
            return false;
        }
        let total: u32 = counts.iter().sum();
        let normal = self.is_full(&after);
        let smaller = || {
            let timeout = self.mode.matchmaking.as_ref()?.timeout.as_ref()?;
            let min = timeout.min_players?;
            let together: u32 = self.mode.groups.iter().map(|it| it.min_players).sum();
            let lowered = |it: u32| if together > min { it * min / together } else { it };
            let enough = counts.iter().zip(&self.mode.groups).all(|it| *it.0 >= lowered(it.1.min_players));
            Some(
                enough && total >= min && set.iter().all(|it| self.timed_out(it, AfterTimeout::StartSmaller)),
            )
        };
        (normal || smaller() == Some(true)) && self.is_balanced(&after, set)
    }

    fn is_balanced(&self, after: &[Seat], set: &[&QueuedTicket]) -> bool {
        let rules = self.mode.matchmaking.clone().unwrap_or_default().rules;
        rules.iter().all(|rule| {
            let MatchRule::TeamBalance(rule) = rule else { return true };
            let average = |group: usize| {
                let values: Vec<f64> = after
                    .iter()
                    .filter(|it| it.group == group)
                    .map(|it| number(rule, &it.attributes))
                    .collect();
                (!values.is_empty())
                    .then(|| values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap()))
            };
            let difference = spread((0..self.mode.groups.len()).filter_map(average));
            set.iter().all(|it| difference <= self.limit_of(rule, it))
        })
    }

    /// The pool did this too, into groups that are legal and as even as can be.
    fn seat(&mut self, new: bool, key: MatchId, expected: &[TicketId]) {
        let (given_new, given_key, placements) = match self.done.next() {
            Some(Effect::Form { match_id: key, placements, .. }) => (true, key, placements),
            Some(Effect::Fill { match_id: key, placements, .. }) => (false, key, placements),
            other => panic!("expected {expected:?} in {key:?}, got {other:?}"),
        };
        let given: Vec<TicketId> = placements.iter().map(|it| it.ticket.id).collect();
        assert_eq!((given_new, given_key, given.as_slice()), (new, key, expected));
        let (joined, left): (Vec<QueuedTicket>, Vec<QueuedTicket>) =
            self.waiting.iter().cloned().partition(|it| expected.contains(&it.ticket.id));
        let set: Vec<&QueuedTicket> = joined.iter().collect();
        let arrangement: Vec<usize> = placements.iter().map(|it: &Placement| it.group).collect();
        let seats = self.matches[&key].clone();
        assert!(self.is_arranged(&seats, &set, &arrangement), "groups {arrangement:?} of {expected:?}");
        let uneven = |arrangement: &[usize]| {
            let after = Self::after(&seats, &set, arrangement);
            (0..self.mode.groups.len()).map(|it| count(&after, it).pow(2)).sum::<u32>()
        };
        // What the mode asks for comes before even numbers.
        let normal = |arrangement: &[usize]| self.is_full(&Self::after(&seats, &set, arrangement));
        let best = self.arrangements(&seats, &set).map(|it| (!normal(&it), uneven(&it))).min().unwrap();
        assert_eq!(
            (!normal(&arrangement), uneven(&arrangement)),
            best,
            "uneven groups {arrangement:?} of {expected:?}"
        );
        let after = Self::after(&seats, &set, &arrangement);
        self.matches.insert(key, after);
        self.waiting = left;
    }
}

fn count(seats: &[Seat], group: usize) -> u32 {
    u32::try_from(seats.iter().filter(|it| it.group == group).count()).unwrap()
}
