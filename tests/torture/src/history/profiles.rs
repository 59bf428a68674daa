//! Profiles: what is read is what was taken last, or something newer.

use std::collections::HashMap;

use super::violation::{Kind, Violation};

#[derive(Debug)]
struct Set {
    value: u64,
    sent: u64,
    taken: Option<u64>,
    refused: bool,
}

#[derive(Debug, Default)]
struct Profile {
    /// By value, which is the order in which they were sent.
    sets: Vec<Set>,
    asked: Option<u64>,
}

/// Of all users.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    users: HashMap<u64, Profile>,
    pub(super) taken: u64,
}

impl Profiles {
    pub(super) fn sent(&mut self, user: u64, value: u64, at: u64) {
        let set = Set { value, sent: at, taken: None, refused: false };
        let profile = self.users.entry(user).or_default();
        // Two game servers may be about to set it at the same time.
        if let Err(position) = profile.position(value) {
            profile.sets.insert(position, set);
        }
    }

    pub(super) fn taken(&mut self, user: u64, value: u64, at: u64) {
        if let Some(set) = self.set(user, value) {
            set.taken.get_or_insert(at);
            self.taken += 1;
        }
    }

    pub(super) fn refused(&mut self, user: u64, value: u64) {
        if let Some(set) = self.set(user, value) {
            set.refused = true;
        }
    }

    pub(super) fn asked(&mut self, user: u64, at: u64) {
        self.users.entry(user).or_default().asked.get_or_insert(at);
    }

    /// It was read since somebody asked.
    pub(super) fn read(&mut self, user: u64, value: u64) -> Option<Violation> {
        // Without a question nothing is known of when.
        let asked = self.users.get_mut(&user).and_then(|it| it.asked.take()).unwrap_or(0);
        self.compare(user, value, asked)
    }

    /// It is so now.
    pub(super) fn stored(&self, user: u64, value: u64, now: u64) -> Option<Violation> {
        self.compare(user, value, now)
    }

    fn compare(&self, user: u64, value: u64, asked: u64) -> Option<Violation> {
        let unset = Profile::default();
        let profile = self.users.get(&user).unwrap_or(&unset);
        let (ended, later) = match (profile.position(value), value) {
            (Ok(at), _) => {
                let set = profile.sets.get(at)?;
                if set.refused {
                    return Some(wrong(format!("the profile of user {user} is {value}, which was refused")));
                }
                (set.taken, profile.sets.get(at.saturating_add(1)..))
            }
            (Err(_), 0) => (Some(0), profile.sets.get(..)),
            (Err(_), _) => {
                return Some(wrong(format!("the profile of user {user} is {value}, which was never set")));
            }
        };
        // One that was set after the other one was taken, and taken before somebody asked, has
        // replaced it.
        let ended = ended?;
        let replaced = |it: &&Set| it.sent > ended && it.taken.is_some_and(|it| it < asked);
        let newer = later.unwrap_or_default().iter().rfind(replaced)?.value;
        Some(wrong(format!("the profile of user {user} is {value}, though {newer} was taken after it")))
    }

    fn set(&mut self, user: u64, value: u64) -> Option<&mut Set> {
        let profile = self.users.get_mut(&user)?;
        let at = profile.position(value).ok()?;
        profile.sets.get_mut(at)
    }
}

impl Profile {
    fn position(&self, value: u64) -> Result<usize, usize> {
        self.sets.binary_search_by_key(&value, |it| it.value)
    }
}

fn wrong(sentence: String) -> Violation {
    Violation::new(Kind::Profile, sentence)
}
