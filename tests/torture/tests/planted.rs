//! Histories of a small backend that does everything right, kills included: the judge is silent.
//! With one planted fault, it reports exactly that one.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]

use std::collections::BTreeMap;

use omgservers_torture::history::{Actor, Kind, Record, To, check};
use proptest::prelude::*;

const CLIENTS: u64 = 3;
const LOBBY: Actor = Actor::Runtime(90);

/// An entry of a mailbox.
#[derive(Clone, Copy)]
struct Entry {
    id: u64,
    from: Actor,
    number: u64,
    durable: bool,
    /// Its consumption was recorded; until then it may come again.
    consumed: bool,
}

/// A backend with mailboxes, one commit at a time, that may be killed.
#[derive(Default)]
struct Backend {
    history: Vec<Record>,
    boxes: BTreeMap<Actor, Vec<Entry>>,
    next_id: u64,
    numbers: BTreeMap<Actor, u64>,
    /// Sent and not taken, with the recipients.
    pending: Vec<(Actor, u64, Vec<Actor>)>,
    profile: u64,
    unsaved: bool,
}

impl Backend {
    fn put(&mut self, from: Actor, number: u64, to: &[Actor]) {
        for by in to {
            self.next_id += 1;
            let entry = Entry { id: self.next_id, from, number, durable: false, consumed: false };
            self.boxes.entry(*by).or_default().push(entry);
        }
    }

    fn send(&mut self, from: Actor, to: To) {
        let number = self.numbers.entry(from).and_modify(|it| *it += 1).or_insert(1);
        let number = *number;
        let receivers = match &to {
            To::Runtime => vec![LOBBY],
            To::Clients(all) => all.iter().map(|it| Actor::Client(*it)).collect(),
            To::Members => (1..=CLIENTS).map(Actor::Client).collect(),
        };
        self.history.push(Record::Sent { from, number, to });
        self.put(from, number, &receivers);
        self.pending.push((from, number, receivers));
    }

    /// Everything becomes durable, and its senders learn that.
    fn commit(&mut self) {
        for entries in self.boxes.values_mut() {
            entries.retain(|it| !it.consumed);
            entries.iter_mut().for_each(|it| it.durable = true);
        }
        for (from, number, to) in std::mem::take(&mut self.pending) {
            let all = to.iter().filter_map(|it| if let Actor::Client(id) = it { Some(*id) } else { None });
            self.history.push(Record::Taken { from, number, surely: all.collect() });
        }
        if std::mem::take(&mut self.unsaved) {
            self.history.push(Record::ProfileTaken { user: 1, value: self.profile });
        }
    }

    fn fetch(&mut self, by: Actor, consume: bool) {
        for entry in self.boxes.entry(by).or_default() {
            self.history.push(Record::Received {
                by,
                entry: entry.id,
                from: entry.from,
                number: entry.number,
            });
            entry.consumed |= consume;
        }
        // What isn't durable and was consumed is as good as gone, unless there is a kill.
    }

    /// What isn't durable is lost, and senders without an acknowledgement send it again.
    fn kill(&mut self) {
        self.history.push(Record::Down);
        for entries in self.boxes.values_mut() {
            entries.retain(|it| it.durable);
            entries.iter_mut().for_each(|it| it.consumed = false);
        }
        self.history.push(Record::Up);
        for (from, number, to) in self.pending.clone() {
            self.put(from, number, &to);
        }
    }

    fn set_profile(&mut self) {
        if self.unsaved {
            self.commit();
        }
        self.profile += 1;
        self.unsaved = true;
        self.history.push(Record::ProfileSent { user: 1, value: self.profile });
    }

    fn read_profile(&mut self) {
        self.history
            .extend([Record::ProfileAsked { user: 1 }, Record::ProfileRead { user: 1, value: self.profile }]);
    }

    fn act(&mut self, what: u8, who: u8) {
        let client = 1 + u64::from(who) % CLIENTS;
        match what % 12 {
            0..=2 => self.send(Actor::Client(client), To::Runtime),
            3 => self.send(LOBBY, To::Clients(vec![client])),
            4 => self.send(LOBBY, To::Clients(vec![client, 1 + client % CLIENTS])),
            5 => self.send(LOBBY, To::Members),
            6 => self.commit(),
            7 => self.fetch(LOBBY, who.is_multiple_of(2)),
            8 | 9 => self.fetch(Actor::Client(client), who.is_multiple_of(2)),
            10 => self.kill(),
            _ if who.is_multiple_of(2) => self.set_profile(),
            _ => self.read_profile(),
        }
    }

    /// Everybody sends something, all of it is taken and received, and a ticket is matched.
    fn finish(mut self) -> Vec<Record> {
        for client in 1..=CLIENTS {
            self.send(Actor::Client(client), To::Runtime);
            self.send(Actor::Client(client), To::Runtime);
        }
        self.send(LOBBY, To::Members);
        self.set_profile();
        self.commit();
        self.set_profile();
        self.commit();
        self.fetch(LOBBY, true);
        (1..=CLIENTS).for_each(|it| self.fetch(Actor::Client(it), true));
        self.read_profile();
        let entry = self.next_id + 1;
        let matched = Record::Assigned { client: 1, entry, runtime: 91, is_match: true };
        self.history.extend([
            Record::TicketRequested { client: 1 },
            Record::TicketTaken { client: 1 },
            matched,
        ]);
        self.history
    }
}

fn history() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec((any::<u8>(), any::<u8>()), 0..120).prop_map(|acts| {
        let mut backend = Backend::default();
        for client in 1..=CLIENTS {
            backend.next_id += 1;
            let assigned = Record::Assigned { client, entry: backend.next_id, runtime: 90, is_match: false };
            backend.history.push(assigned);
        }
        acts.into_iter().for_each(|(what, who)| backend.act(what, who));
        backend.finish()
    })
}

/// The kinds of what is wrong, each once.
fn kinds(history: Vec<Record>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(history).into_iter().map(|it| it.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The entries that were received, each once: position, receiver, id, sender, number.
fn received(history: &[Record]) -> Vec<(usize, Actor, u64, Actor, u64)> {
    let mut seen = std::collections::BTreeSet::new();
    let entries = history.iter().enumerate().filter_map(|(at, record)| match record {
        Record::Received { by, entry, from, number } => Some((at, *by, *entry, *from, *number)),
        _ => None,
    });
    entries.filter(|it| seen.insert((it.1, it.2))).collect()
}

fn position(history: &[Record], what: impl Fn(&Record) -> bool) -> usize {
    history.iter().position(what).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_history_is_silent(history in history()) {
        prop_assert_eq!(check(history), []);
    }

    #[test]
    fn a_loss_is_noticed(mut history in history(), which in any::<prop::sample::Index>()) {
        let all = received(&history);
        let (_, by, _, from, number) = *which.get(&all);
        history.retain(|it| !matches!(it, Record::Received { by: b, from: f, number: n, .. } if (*b, *f, *n) == (by, from, number)));
        prop_assert_eq!(kinds(history), [Kind::Loss]);
    }

    #[test]
    fn a_reorder_is_noticed(mut history in history(), which in any::<prop::sample::Index>()) {
        let all = received(&history);
        // Of one sender to one receiver, between two kills, and both sent before the first one was
        // received.
        let pairs: Vec<_> = all.iter().enumerate().filter_map(|(index, one)| {
            let next = all.iter().skip(index + 1).find(|it| (it.1, it.3) == (one.1, one.3))?;
            let sent = |n: u64| position(&history, |it| matches!(it, Record::Sent { from, number, .. } if (*from, *number) == (one.3, n)));
            let killed = history[one.0..next.0].contains(&Record::Down);
            (!killed && sent(next.4) < one.0 && one.4 < next.4).then_some((*one, *next))
        }).collect();
        prop_assume!(!pairs.is_empty());
        let (one, next) = *which.get(&pairs);
        for it in &mut history {
            if let Record::Received { by, entry, number, .. } = it && *by == one.1 {
                if *entry == one.2 { *number = next.4 } else if *entry == next.2 { *number = one.4 }
            }
        }
        prop_assert_eq!(kinds(history), [Kind::Reorder]);
    }

    #[test]
    fn a_duplicate_is_noticed(mut history in history(), which in any::<prop::sample::Index>()) {
        // Those of the end: no kill comes after them.
        let last = history.iter().rposition(|it| *it == Record::Up).unwrap_or(0);
        let all: Vec<_> = received(&history).into_iter().filter(|it| {
            it.0 > last && position(&history, |send| matches!(send, Record::Taken { from, number, .. } if (*from, *number) == (it.3, it.4))) > last
        }).filter(|it| position(&history, |send| matches!(send, Record::Sent { from, number, .. } if (*from, *number) == (it.3, it.4))) > last).collect();
        let (_, by, _, from, number) = *which.get(&all);
        history.push(Record::Received { by, entry: 1_000_000, from, number });
        prop_assert_eq!(kinds(history), [Kind::Duplicate]);
    }

    #[test]
    fn a_phantom_is_noticed(mut history in history(), client in 1..=CLIENTS, at in any::<prop::sample::Index>()) {
        let at = at.index(history.len());
        let phantom = Record::Received { by: LOBBY, entry: 1_000_000 + client, from: Actor::Client(client), number: 999_999 };
        // Nothing after it comes from that client: its number would be smaller.
        history.truncate(at);
        history.push(phantom);
        let found: Vec<Kind> = check(history).into_iter().map(|it| it.kind).filter(|it| *it != Kind::Loss).collect();
        prop_assert_eq!(found, [Kind::Phantom]);
    }

    #[test]
    fn a_profile_that_was_rolled_back_is_noticed(mut history in history(), back in 1_u64..3) {
        let newest = history.iter().filter(|it| matches!(it, Record::ProfileSent { .. })).count();
        let value = u64::try_from(newest).unwrap().saturating_sub(back);
        history.extend([Record::ProfileAsked { user: 1 }, Record::ProfileRead { user: 1, value }]);
        prop_assert_eq!(kinds(history), [Kind::Profile]);
    }

    #[test]
    fn a_ticket_that_ends_twice_or_vanishes_is_noticed(history in history(), twice in any::<bool>()) {
        let mut history = history;
        if twice {
            history.push(Record::TicketFailed { client: 1, entry: 1_000_000 });
        } else {
            history.extend([Record::TicketRequested { client: 1 }, Record::TicketTaken { client: 1 }, Record::TicketVoid { client: 1 }]);
        }
        prop_assert_eq!(kinds(history), [Kind::Ticket]);
    }

    #[test]
    fn a_client_that_is_back_where_it_was_before_is_noticed(mut history in history()) {
        // The history ends with the client in a match.
        let (from, number) = (Actor::Client(1), 999_999);
        history.extend([
            Record::Sent { from, number, to: To::Runtime },
            Record::Taken { from, number, surely: Vec::new() },
            Record::Received { by: LOBBY, entry: 1_000_000, from, number },
        ]);
        prop_assert_eq!(kinds(history), [Kind::Assignment]);
    }
}
