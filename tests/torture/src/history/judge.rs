//! The judge: reads a history from the front, and can be asked at any point.

use super::{
    assignments::Assignments,
    kills::Kills,
    messages::{Delivery, Messages},
    profiles::Profiles,
    record::{Actor, Record, To},
    tickets::Tickets,
    violation::{Kind, Violation},
};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// Messages that were taken.
    pub taken: u64,
    /// Deliveries, repetitions included.
    pub deliveries: u64,
    /// Of these: under an id that had come before.
    pub repeats: u64,
    /// Ticket requests that were taken.
    pub tickets: u64,
    /// Profiles that were taken.
    pub profiles: u64,
}

/// Judges a history while it happens, or afterwards.
#[derive(Debug, Default)]
pub struct Judge {
    at: u64,
    kills: Kills,
    messages: Messages,
    assignments: Assignments,
    tickets: Tickets,
    profiles: Profiles,
    violations: Vec<Violation>,
}

impl Judge {
    /// Adds the next record.
    pub fn add(&mut self, record: Record) {
        self.at += 1;
        let violation = match record {
            Record::Down => {
                self.kills.down(self.at);
                None
            }
            Record::Up => {
                self.kills.up(self.at);
                None
            }
            Record::Gone { who } => {
                self.messages.gone(who);
                None
            }
            Record::Ended { who, why } => {
                self.messages.gone(who);
                Some(Violation::new(Kind::Ended, format!("{who} ended, and nobody had asked for it: {why}")))
            }
            other => self.message(other),
        };
        self.violations.extend(violation);
    }

    fn message(&mut self, record: Record) -> Option<Violation> {
        let at = self.at;
        match record {
            Record::Sent { from, number, to } => {
                if let (Actor::Client(client), To::Runtime) = (from, &to) {
                    self.assignments.sent(client, number, at);
                }
                self.messages.sent(from, number, to)
            }
            Record::Taken { from, number, surely } => {
                if let Actor::Client(client) = from {
                    self.assignments.taken(client, number, at);
                }
                self.messages.taken(from, number, &surely, at)
            }
            Record::Refused { from, number } => {
                self.messages.refused(from, number);
                None
            }
            Record::Received { by, entry, from, number } => {
                let delivery = Delivery { by, entry, from, number };
                let wrong = self.messages.received(delivery, at, &self.kills);
                if let (Actor::Client(client), Actor::Runtime(runtime), None) = (from, by, &wrong) {
                    self.assignments.received(client, number, entry, runtime, at, &self.kills);
                }
                wrong
            }
            other => self.fact(other),
        }
    }

    /// Of tickets, assignments and profiles.
    fn fact(&mut self, record: Record) -> Option<Violation> {
        let at = self.at;
        match record {
            Record::Assigned { client, entry, runtime, is_match } => {
                let wrong = self.assignments.assigned(client, entry, runtime, at);
                let ended =
                    is_match.then(|| self.tickets.ended(client, entry, "in a match", at, &self.kills));
                return wrong.or(ended.flatten());
            }
            Record::TicketFailed { client, entry } => {
                return self.tickets.ended(client, entry, "without a match", at, &self.kills);
            }
            Record::TicketVoid { client } => return self.tickets.void(client),
            Record::ProfileRead { user, value } => return self.profiles.read(user, value),
            Record::ProfileStored { user, value } => return self.profiles.stored(user, value, at),
            Record::TicketRequested { client } => self.tickets.sent(client, at),
            Record::TicketTaken { client } => self.tickets.taken(client),
            Record::TicketRefused { client } => self.tickets.refused(client),
            Record::ProfileSent { user, value } => self.profiles.sent(user, value, at),
            Record::ProfileTaken { user, value } => self.profiles.taken(user, value, at),
            Record::ProfileRefused { user, value } => self.profiles.refused(user, value),
            Record::ProfileAsked { user } => self.profiles.asked(user, at),
            Record::Sent { .. }
            | Record::Taken { .. }
            | Record::Refused { .. }
            | Record::Received { .. }
            | Record::Gone { .. }
            | Record::Ended { .. }
            | Record::Down
            | Record::Up => {}
        }
        None
    }

    /// How many messages were taken and have not arrived everywhere yet.
    pub fn missing(&self) -> usize {
        self.messages.missing()
    }

    /// Everything that must not have happened, if nothing more is to come. First what was noticed
    /// on the way, in its order, and then what is still missing.
    pub fn verdict(&self) -> Vec<Violation> {
        let mut all = self.violations.clone();
        all.extend(self.messages.losses());
        all.extend(self.assignments.unannounced(self.at, &self.kills));
        all
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            records: self.at,
            taken: self.messages.taken,
            deliveries: self.messages.deliveries,
            repeats: self.messages.repeats,
            tickets: self.tickets.taken,
            profiles: self.profiles.taken,
        }
    }
}

/// Judges a whole history.
pub fn check(history: impl IntoIterator<Item = Record>) -> Vec<Violation> {
    let mut judge = Judge::default();
    history.into_iter().for_each(|it| judge.add(it));
    judge.verdict()
}
