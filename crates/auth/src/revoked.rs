//! Users whose tokens don't count any more.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use omgservers_api::UserId;

/// More than this are remembered only while their tokens could still be valid.
const MOST: usize = 100_000;

/// Remembers until when the tokens of a user are refused.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// When it happened, in seconds of wall time.
    users: RwLock<HashMap<UserId, i64>>,
}

impl Revoked {
    /// Refuses what was issued to `user` up to `now`. `longest` is the life of the longest-lived
    /// token, seconds.
    pub(crate) fn add(&self, user: UserId, now: i64, longest: i64) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MOST {
            users.retain(|_, at| at.saturating_add(longest) > now);
            // Still full: the one that is longest ago has the fewest valid tokens left.
            let oldest = users.iter().min_by_key(|it| it.1).map(|it| *it.0);
            if let Some(oldest) = oldest.filter(|_| users.len() >= MOST) {
                users.remove(&oldest);
            }
        }
        users.insert(user, now);
    }

    /// Whether a token that `user` got at `issued` (seconds) is refused.
    pub(crate) fn covers(&self, user: UserId, issued: i64) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.get(&user).is_some_and(|at| issued <= *at)
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;

    use super::*;

    #[test]
    fn there_is_a_bound_and_the_oldest_go_first() {
        let revoked = Revoked::default();
        let user = |it: usize| UserId::from_i64(i64::try_from(it).unwrap() + 1).unwrap();
        for number in 0..MOST + 10 {
            revoked.add(user(number), i64::try_from(number).unwrap(), i64::MAX);
        }
        assert_eq!(revoked.users.read().unwrap().len(), MOST);
        assert!(!revoked.covers(user(9), 0));
        assert!(revoked.covers(user(10), 0));
    }

    #[test]
    fn what_can_not_be_valid_any_more_is_forgotten_first() {
        let revoked = Revoked::default();
        let user = |it: i64| UserId::from_i64(it).unwrap();
        for number in 1..=i64::try_from(MOST).unwrap() {
            revoked.add(user(number), number % 2 * 1_000, 500);
        }
        revoked.add(user(200_000), 1_000, 500);
        assert_eq!(revoked.users.read().unwrap().len(), MOST / 2 + 1);
    }
}
