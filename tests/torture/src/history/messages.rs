//! Messages: each that was taken arrives, once, in order, and nothing else does.

use std::collections::{HashMap, HashSet};

use super::{
    kills::Kills,
    record::{Actor, To},
    violation::{Kind, Violation},
};

/// A message and what became of it.
#[derive(Debug)]
struct Message {
    to: To,
    taken: Option<u64>,
    refused: bool,
    /// Of a message to a game server: its first receiver, under which id, and when.
    first: Option<(Actor, u64, u64)>,
    /// The clients that haven't received it and must once it is taken. Sorted.
    owed: Vec<u64>,
}

/// What a receiver has of one sender.
#[derive(Debug, Default)]
struct Received {
    /// The newest number, and when it came.
    last: Option<(u64, u64)>,
    /// Of a client: under which id each number came, and when.
    numbers: HashMap<u64, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Receiver {
    newest: u64,
    entries: HashMap<u64, (Actor, u64)>,
    senders: HashMap<Actor, Received>,
}

/// An entry that a receiver got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) by: Actor,
    pub(super) entry: u64,
    pub(super) from: Actor,
    pub(super) number: u64,
}

/// All messages and receivers.
#[derive(Debug, Default)]
pub(super) struct Messages {
    messages: HashMap<(Actor, u64), Message>,
    receivers: HashMap<Actor, Receiver>,
    /// Taken, and not received by all clients that must.
    open: HashSet<(Actor, u64)>,
    gone: HashSet<Actor>,
    /// How many deliveries there were, and how many of them were repetitions.
    pub(super) deliveries: u64,
    pub(super) repeats: u64,
    pub(super) taken: u64,
}

impl Messages {
    pub(super) fn sent(&mut self, from: Actor, number: u64, to: To) -> Option<Violation> {
        let owed = match &to {
            To::Clients(all) => {
                let mut all = all.clone();
                all.sort_unstable();
                all.dedup();
                all
            }
            To::Runtime | To::Members => Vec::new(),
        };
        let message = Message { to, taken: None, refused: false, first: None, owed };
        let before = self.messages.insert((from, number), message);
        before.map(|_| {
            let sentence = format!("{from} sent two messages with the number {number}");
            Violation::new(Kind::Phantom, sentence)
        })
    }

    pub(super) fn taken(&mut self, from: Actor, number: u64, surely: &[u64], at: u64) -> Option<Violation> {
        let Some(message) = self.messages.get_mut(&(from, number)) else {
            let sentence = format!("{from} learned that its message {number} was taken, which it never sent");
            return Some(Violation::new(Kind::Phantom, sentence));
        };
        if message.taken.is_some() {
            return None;
        }
        message.taken = Some(at);
        self.taken += 1;
        match message.to {
            To::Members => {
                let received = |client: &u64| {
                    let receiver = self.receivers.get(&Actor::Client(*client));
                    let sender = receiver.and_then(|it| it.senders.get(&from));
                    sender.is_some_and(|it| it.numbers.contains_key(&number))
                };
                message.owed = surely.iter().copied().filter(|it| !received(it)).collect();
                message.owed.sort_unstable();
            }
            To::Clients(_) if !surely.is_empty() => message.owed.retain(|it| surely.contains(it)),
            To::Clients(_) | To::Runtime => {}
        }
        if message.is_owed() {
            self.open.insert((from, number));
        }
        None
    }

    pub(super) fn refused(&mut self, from: Actor, number: u64) {
        if let Some(message) = self.messages.get_mut(&(from, number)) {
            message.refused = true;
        }
    }

    pub(super) fn gone(&mut self, who: Actor) {
        self.gone.insert(who);
    }

    pub(super) fn received(&mut self, delivery: Delivery, at: u64, kills: &Kills) -> Option<Violation> {
        let Delivery { by, entry, from, number } = delivery;
        self.deliveries += 1;
        let receiver = self.receivers.entry(by).or_default();
        if let Some(before) = receiver.entries.get(&entry) {
            self.repeats += 1;
            let same = *before == (from, number);
            return (!same).then(|| changed(delivery, *before));
        }
        receiver.entries.insert(entry, (from, number));
        let newest = receiver.newest;
        receiver.newest = newest.max(entry);
        let Some(message) = self.messages.get_mut(&(from, number)).filter(|it| it.may_reach(by)) else {
            return Some(phantom(delivery));
        };
        let sender = receiver.senders.entry(from).or_default();
        let earlier = match message.to {
            To::Runtime => message.first.replace((by, entry, at)),
            _ => sender.numbers.insert(number, (entry, at)).map(|(entry, at)| (by, entry, at)),
        };
        message.settle(by);
        let taken = message.taken;
        if taken.is_some() && !message.is_owed() {
            self.open.remove(&(from, number));
        }
        let last = sender.last;
        let mut rewound = false;
        if let Some((who, first, when)) = earlier {
            // A receiver doesn't wait for the commit: what it received just before a kill is sent
            // again.
            if !kills.may_have_undone(when, taken, at) {
                return Some(doubled(delivery, who, first, taken));
            }
            rewound = last.is_none_or(|it| kills.may_have_undone(it.1, None, at));
        }
        if let Some((last, _)) = last.filter(|it| it.0 > number && !rewound) {
            let sentence = format!("{by} received message {number} of {from} (entry {entry}) after {last}");
            return Some(Violation::new(Kind::Reorder, sentence));
        }
        sender.last = Some((number, at));
        (entry < newest).then(|| {
            let sentence = format!(
                "{by} received message {number} of {from} under the id {entry}, after it had received the id {newest}"
            );
            Violation::new(Kind::Reorder, sentence)
        })
    }

    /// How many messages were taken and have not arrived everywhere.
    pub(super) fn missing(&self) -> usize {
        self.open.iter().filter(|it| self.still_owed(it).is_some()).count()
    }

    /// Everything that was taken and has not arrived, by sender and number.
    pub(super) fn losses(&self) -> Vec<Violation> {
        let mut all: Vec<_> = self.open.iter().collect();
        all.sort_unstable();
        let lost = all.into_iter().filter_map(|(from, number)| {
            let who = self.still_owed(&(*from, *number))?;
            let sentence = format!("message {number} of {from} was taken and never reached {who}");
            Some(Violation::new(Kind::Loss, sentence))
        });
        lost.collect()
    }

    /// The recipients that still miss it.
    fn still_owed(&self, key: &(Actor, u64)) -> Option<String> {
        let message = self.messages.get(key)?;
        if message.to == To::Runtime {
            return message.first.is_none().then(|| "a runtime".to_owned());
        }
        let owed = message.owed.iter().map(|it| Actor::Client(*it)).filter(|it| !self.gone.contains(it));
        let names: Vec<String> = owed.map(|it| it.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

impl Message {
    /// Whether it may arrive there at all.
    fn may_reach(&self, by: Actor) -> bool {
        let addressed = match (&self.to, by) {
            (To::Runtime, Actor::Runtime(_)) | (To::Members, Actor::Client(_)) => true,
            (To::Clients(all), Actor::Client(id)) => all.contains(&id),
            _ => false,
        };
        addressed && !self.refused
    }

    /// It has arrived there.
    fn settle(&mut self, by: Actor) {
        if let Actor::Client(id) = by
            && let Ok(at) = self.owed.binary_search(&id)
        {
            self.owed.remove(at);
        }
    }

    fn is_owed(&self) -> bool {
        if self.to == To::Runtime { self.first.is_none() } else { !self.owed.is_empty() }
    }
}

fn changed(delivery: Delivery, before: (Actor, u64)) -> Violation {
    let Delivery { by, entry, from, number } = delivery;
    let sentence = format!(
        "{by} received message {number} of {from} under the id {entry}, which was message {} of {} before",
        before.1, before.0
    );
    Violation::new(Kind::Phantom, sentence)
}

fn phantom(delivery: Delivery) -> Violation {
    let Delivery { by, entry, from, number } = delivery;
    let sentence =
        format!("{by} received message {number} of {from} (entry {entry}), which {from} never sent to it");
    Violation::new(Kind::Phantom, sentence)
}

fn doubled(delivery: Delivery, who: Actor, first: u64, taken: Option<u64>) -> Violation {
    let Delivery { by, entry, from, number } = delivery;
    let how = if taken.is_some() { "taken" } else { "not taken yet" };
    let sentence = format!(
        "message {number} of {from}, {how}, was received by {who} (entry {first}) and again by {by} (entry {entry})"
    );
    Violation::new(Kind::Duplicate, sentence)
}
