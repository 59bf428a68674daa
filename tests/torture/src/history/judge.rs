//! The judge: reads a history from the front, and can be asked at any point.

use super::{
    assignments::Assignments,
    kills::Kills,
    messages::{Hearing, Messages},
    profiles::Profiles,
    record::{Actor, Record, To},
    violation::{Kind, Violation},
    wishes::Wishes,
};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Messages that were taken.
    pub taken: u64,
    /// Deliveries, repetitions included.
    pub deliveries: u64,
    /// Of these: under an id that had come before.
    pub repeats: u64,
    /// Wishes for a match that were taken.
    pub wishes: u64,
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
    wishes: Wishes,
    profiles: Profiles,
    violations: Vec<Violation>,
}

impl Judge {
    /// Hears the next record.
    pub fn hear(&mut self, record: Record) {
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
            Record::Said { from, number, to } => {
                if let (Actor::Client(client), To::Runtime) = (from, &to) {
                    self.assignments.said(client, number, at);
                }
                self.messages.said(from, number, to)
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
            Record::Heard { by, entry, from, number } => {
                let hearing = Hearing { by, entry, from, number };
                let wrong = self.messages.heard(hearing, at, &self.kills);
                if let (Actor::Client(client), Actor::Runtime(runtime), None) = (from, by, &wrong) {
                    self.assignments.heard(client, number, entry, runtime, at, &self.kills);
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
                let ended = is_match.then(|| self.wishes.ended(client, entry, "in a match", at, &self.kills));
                return wrong.or(ended.flatten());
            }
            Record::WishFailed { client, entry } => {
                return self.wishes.ended(client, entry, "without a match", at, &self.kills);
            }
            Record::WishVoid { client } => return self.wishes.void(client),
            Record::ProfileRead { user, value } => return self.profiles.read(user, value),
            Record::ProfileStored { user, value } => return self.profiles.stored(user, value, at),
            Record::Wished { client } => self.wishes.said(client, at),
            Record::WishTaken { client } => self.wishes.taken(client),
            Record::WishRefused { client } => self.wishes.refused(client),
            Record::ProfileSaid { user, value } => self.profiles.said(user, value, at),
            Record::ProfileTaken { user, value } => self.profiles.taken(user, value, at),
            Record::ProfileRefused { user, value } => self.profiles.refused(user, value),
            Record::ProfileAsked { user } => self.profiles.asked(user, at),
            Record::Said { .. }
            | Record::Taken { .. }
            | Record::Refused { .. }
            | Record::Heard { .. }
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

    /// Everything that must not have happened, if nothing more is to come: what was noticed on the
    /// way, in its order, and then what is still missing.
    pub fn verdict(&self) -> Vec<Violation> {
        let mut all = self.violations.clone();
        all.extend(self.messages.losses());
        all.extend(self.assignments.untold(self.at, &self.kills));
        all
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        Tally {
            records: self.at,
            taken: self.messages.taken,
            deliveries: self.messages.deliveries,
            repeats: self.messages.repeats,
            wishes: self.wishes.taken,
            profiles: self.profiles.taken,
        }
    }
}

/// Judges a whole history.
pub fn check(history: impl IntoIterator<Item = Record>) -> Vec<Violation> {
    let mut judge = Judge::default();
    history.into_iter().for_each(|it| judge.hear(it));
    judge.verdict()
}
