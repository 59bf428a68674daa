//! When the server was down.

/// Positions in the history between which the server was down. What was noted inside of such a span
/// may have been answered before it.
#[derive(Debug, Default)]
pub(super) struct Kills(Vec<(u64, Option<u64>)>);

impl Kills {
    pub(super) fn down(&mut self, at: u64) {
        if self.0.last().is_none_or(|it| it.1.is_some()) {
            self.0.push((at, None));
        }
    }

    pub(super) fn up(&mut self, at: u64) {
        if let Some((_, until)) = self.0.last_mut() {
            until.get_or_insert(at);
        }
    }

    /// Whether a kill may have undone what was noticed at `noticed` and was known to be durable at
    /// `durable`, if it ever was, before `now`.
    pub(super) fn may_have_undone(&self, noticed: u64, durable: Option<u64>, now: u64) -> bool {
        let first = self.0.partition_point(|(_, until)| until.is_some_and(|it| it < noticed));
        // The later ones began later: when the first isn't one, none is.
        self.0.get(first).is_some_and(|(from, _)| *from < now && durable.is_none_or(|it| it > *from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_undoes_what_was_noticed_before_it_and_durable_only_after_it() {
        let mut kills = Kills::default();
        assert!(!kills.may_have_undone(1, None, 100));
        kills.down(10);
        kills.up(20);
        assert!(kills.may_have_undone(5, None, 30), "received, killed");
        assert!(kills.may_have_undone(5, Some(25), 30), "received, killed, taken");
        assert!(kills.may_have_undone(15, None, 30), "answered before the kill and read after it");
        assert!(!kills.may_have_undone(5, Some(7), 30), "received, taken, killed");
        assert!(!kills.may_have_undone(21, None, 30), "killed, received");
        assert!(!kills.may_have_undone(5, None, 9), "not killed yet");
    }
}
