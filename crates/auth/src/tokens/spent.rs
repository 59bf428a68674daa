//! Tokens that are good for one use.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use omgservers_api::{Problem, problem::codes};

/// Tokens that were used within their life. More than these are refused: to forget one would make
/// it good again.
const MOST: usize = 500_000;

/// Remembers used tokens until they have expired.
#[derive(Debug, Default)]
pub(super) struct Spent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: HashSet<u128>,
    /// The same by the second in which they expire.
    expiring: BTreeSet<(i64, u128)>,
}

impl Spent {
    /// Notes that the token `jti`, which expires at `expires`, is used at `now`; both are seconds
    /// of wall time. Problems: `auth.token` for one that was used before, `unavailable`.
    pub(super) fn spend(&self, jti: &str, expires: i64, now: i64) -> Result<(), Problem> {
        self.spend_of(jti, expires, now, MOST)
    }

    fn spend_of(&self, jti: &str, expires: i64, now: i64, most: usize) -> Result<(), Problem> {
        let wrong = |it| Problem::from(codes::WRONG_TOKEN).because(it);
        let id = u128::from_str_radix(jti, 16).map_err(wrong)?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now);
        if inner.ids.contains(&id) {
            return Err(codes::WRONG_TOKEN.detail("the token was used before; ask for another one"));
        }
        if inner.ids.len() >= most {
            return Err(Problem::unavailable("too many tokens were used within their life"));
        }
        inner.ids.insert(id);
        inner.expiring.insert((expires, id));
        Ok(())
    }
}

impl Inner {
    /// A token is refused from the second in which it expires, so it needs not be remembered in
    /// that one.
    fn forget(&mut self, now: i64) {
        while let Some((expires, id)) = self.expiring.first().copied().filter(|it| it.0 <= now) {
            self.expiring.remove(&(expires, id));
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_full_refuses_until_something_has_expired() {
        let spent = Spent::default();
        assert!(spent.spend_of("1", 60, 0, 2).is_ok());
        assert!(spent.spend_of("2", 61, 0, 2).is_ok());
        assert!(spent.spend_of("3", 62, 0, 2).is_err());
        assert!(spent.spend_of("2", 61, 60, 2).unwrap_err().is(codes::WRONG_TOKEN), "still remembered");
        assert!(spent.spend_of("3", 62, 60, 2).is_ok(), "the first has made room");
        assert!(spent.spend_of("not hexadecimal", 62, 60, 9).unwrap_err().is(codes::WRONG_TOKEN));
    }

    proptest! {
        #[test]
        fn within_its_life_a_token_is_good_once(uses in prop::collection::vec((0u8..12, 0i64..4), 0..80)) {
            let (spent, mut now) = (Spent::default(), 0);
            let mut good = HashSet::new();
            for (token, pause) in uses {
                now += pause;
                // Each token lives until a second of its own; an expired one doesn't come this far.
                let expires = 20 + i64::from(token);
                if now < expires {
                    let fresh = good.insert(token);
                    prop_assert_eq!(spent.spend(&format!("{token:032x}"), expires, now).is_ok(), fresh);
                }
            }
            let inner = spent.0.lock().unwrap();
            prop_assert_eq!(inner.ids.len(), inner.expiring.len());
        }
    }
}
