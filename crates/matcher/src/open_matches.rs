//! Holds the matches of a pool that take more players.

use std::collections::{BTreeMap, BTreeSet};

use omgservers_api::MatchId;

use crate::{
    compiled_mode::{CompiledMode, Stage},
    open_match::OpenMatch,
    open_match_index::OpenMatchIndex,
    values::Values,
};

/// All open matches of a pool.
#[derive(Debug, Default)]
pub(crate) struct OpenMatches {
    all: BTreeMap<MatchId, OpenMatch>,
    open: OpenMatchIndex,
    /// Those without players; they are all alike.
    empty: BTreeSet<MatchId>,
}

impl OpenMatches {
    pub(crate) fn get(&self, id: MatchId) -> Option<&OpenMatch> {
        self.all.get(&id)
    }

    pub(crate) fn insert(&mut self, mode: &CompiledMode, id: MatchId, open: OpenMatch) {
        self.index(mode, id, &open, true);
        self.all.insert(id, open);
    }

    pub(crate) fn remove(&mut self, mode: &CompiledMode, id: MatchId) -> Option<OpenMatch> {
        let open = self.all.remove(&id)?;
        self.index(mode, id, &open, false);
        Some(open)
    }

    fn index(&mut self, mode: &CompiledMode, id: MatchId, open: &OpenMatch, add: bool) {
        if open.free_seats(mode) == 0 {
            return;
        }
        if open.spans.is_some() {
            self.open.put(mode, id, open, add);
        } else if add {
            self.empty.insert(id);
        } else {
            self.empty.remove(&id);
        }
    }

    /// The matches that a ticket may join as far as ranges, equal values and its own size go, the
    /// oldest first. Of those without players it is only the oldest: what it can't do with that one
    /// it can't do with the others.
    pub(crate) fn joinable<'a>(
        &'a self,
        mode: &'a CompiledMode,
        stage: &'a Stage,
        values: &'a Values,
        size: u32,
    ) -> impl Iterator<Item = MatchId> + 'a {
        let fits = move |id: &MatchId| {
            let fitting = |it: &&OpenMatch| it.free_seats(mode) >= size && it.admits(stage, values);
            self.all.get(id).filter(fitting).is_some()
        };
        let mut empty = self.empty.first().copied().filter(fits);
        let mut open = self.open.oldest_first(mode, stage, values, size).filter(fits).peekable();
        std::iter::from_fn(move || {
            let is_next = open.peek().is_none_or(|it| empty.is_some_and(|empty| empty < *it));
            if is_next { empty.take().or_else(|| open.next()) } else { open.next() }
        })
    }
}
