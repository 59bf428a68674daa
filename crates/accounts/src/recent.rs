//! Players who were seen a moment ago: who signs up asks for a token at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use omgservers_api::UserId;
use omgservers_core::{Clock, Ticks};

/// How many are remembered.
const MOST: u64 = 100_000;
/// How long: another process may have deleted the player meanwhile.
const FRESH: Duration = Duration::from_secs(60);

/// Digests of players' secrets.
pub(crate) struct Recent {
    players: Cache<UserId, (Arc<str>, Ticks)>,
    deletions: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// How many deletions there had been when a player was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsOf(u64);

impl Recent {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { players: Cache::new(MOST), deletions: AtomicU64::new(0), clock }
    }

    /// The digest of a player who was seen less than a minute ago.
    pub(crate) fn get(&self, player: UserId) -> Option<Arc<str>> {
        let (digest, seen) = self.players.get(&player)?;
        (self.clock.ticks().since(seen) < FRESH).then_some(digest)
    }

    /// Call before the database is asked.
    pub(crate) fn as_of(&self) -> AsOf {
        AsOf(self.deletions.load(Ordering::SeqCst))
    }

    /// Remembers a player who was there after `as_of`.
    pub(crate) fn put(&self, player: UserId, digest: Arc<str>, as_of: AsOf) {
        self.players.insert(player, (digest, self.clock.ticks()));
        // A deletion since the read may have been of this player, and its `forget` may have come
        // first.
        if self.as_of().0 != as_of.0 {
            self.players.invalidate(&player);
        }
    }

    /// Call after a player was deleted.
    pub(crate) fn forget(&self, player: UserId) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
        self.players.invalidate(&player);
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;
    use omgservers_core::ManualClock;

    use super::*;

    #[test]
    fn a_player_is_remembered_for_a_minute() {
        let clock = ManualClock::default();
        let recent = Recent::new(Arc::new(clock.clone()));
        let player = UserId::from_i64(7).unwrap();
        assert_eq!(recent.get(player), None);
        recent.put(player, "digest".into(), recent.as_of());
        clock.advance(FRESH - Duration::from_millis(1));
        assert_eq!(recent.get(player).as_deref(), Some("digest"));
        clock.advance(Duration::from_millis(1));
        assert_eq!(recent.get(player), None);
    }

    #[test]
    fn what_was_read_before_a_deletion_is_not_remembered() {
        let recent = Recent::new(Arc::new(ManualClock::default()));
        let player = UserId::from_i64(7).unwrap();
        let as_of = recent.as_of();
        recent.forget(player);
        recent.put(player, "digest".into(), as_of);
        assert_eq!(recent.get(player), None);
        recent.put(player, "digest".into(), recent.as_of());
        assert!(recent.get(player).is_some());
        recent.forget(player);
        assert_eq!(recent.get(player), None);
    }
}
