//! What this process knows of the matches and tickets of a deployment.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use omgservers_api::{
    ClientId, MatchId, MatchmakerId, RuntimeId, TicketId,
    interchange::{Attributes, MatchmakingFailureReason},
};
use omgservers_core::Ticks;
use omgservers_matcher::{Millis, Pool, Rationale, Ticket};
use omgservers_runtimes::Published;
use serde::{Deserialize, Serialize};

/// Who waits for a match of one mode: a matchmaker, and the place of the mode in the version's configuration.
pub(crate) type QueueKey = (MatchmakerId, usize);

/// Rationales that are kept of a match: of who began it, and of the last who joined.
const MOST_RATIONALES: usize = 16;

/// The matches of a deployment and its tickets.
#[derive(Default)]
pub(crate) struct Queues {
    /// Whether this is what the database has.
    pub(crate) loaded: bool,
    pub(crate) pools: BTreeMap<QueueKey, Pool>,
    pub(crate) matches: BTreeMap<MatchId, Match>,
    pub(crate) by_runtime: HashMap<RuntimeId, MatchId>,
    /// Matches that are kept warm; of some that isn't true any more.
    pub(crate) spare: BTreeMap<QueueKey, BTreeSet<MatchId>>,
    /// Matches that somebody is still to join; of some that isn't true any more.
    pub(crate) expecting: BTreeSet<MatchId>,
    /// Open tickets, and those of clients that are in a match.
    pub(crate) tickets: HashMap<TicketId, TicketEntry>,
    pub(crate) by_client: HashMap<ClientId, TicketId>,
    /// Matches that failed in a row.
    pub(crate) failures: u32,
    pub(crate) retry_at: Ticks,
}

/// A ticket as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct TicketEntry {
    pub(crate) queue: QueueKey,
    pub(crate) created: DateTime<Utc>,
    pub(crate) clients: Vec<ClientId>,
    pub(crate) state: TicketState,
}

/// Where a ticket is.
#[derive(Debug, Clone)]
pub(crate) enum TicketState {
    /// In its pool.
    Queued,
    /// In a match. The pool doesn't have it any more.
    Matched { match_id: MatchId, group: usize, ticket: Ticket },
}

/// A match.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) runtime: RuntimeId,
    pub(crate) queue: QueueKey,
    pub(crate) created: DateTime<Utc>,
    /// Since when it is, in this process.
    pub(crate) made: Ticks,
    pub(crate) closing: bool,
    /// STOP_MATCHMAKING was said.
    pub(crate) stopped: bool,
    /// Somebody was placed in it: it isn't one of those that are kept warm.
    pub(crate) used: bool,
    /// Its mailbox is open and its runtime is wanted.
    pub(crate) opened: bool,
    /// Since when its game server takes players, in this process.
    pub(crate) ready: Option<Ticks>,
    /// Where players connect to it directly.
    pub(crate) published: Option<Arc<Published>>,
    /// Its pool fills it.
    pub(crate) is_in_pool: bool,
    /// Those whose clients are with it.
    pub(crate) joined: BTreeSet<TicketId>,
    /// Those whose clients will be with it when its game server polls.
    pub(crate) pending_join: BTreeSet<TicketId>,
    pub(crate) rationale: Vec<Rationale>,
}

impl Match {
    pub(crate) fn new(runtime: RuntimeId, queue: QueueKey, created: DateTime<Utc>, made: Ticks) -> Self {
        Self {
            runtime,
            queue,
            created,
            made,
            closing: false,
            stopped: false,
            used: false,
            opened: false,
            ready: None,
            published: None,
            is_in_pool: false,
            joined: BTreeSet::new(),
            pending_join: BTreeSet::new(),
            rationale: Vec::new(),
        }
    }

    /// Whether nobody is in it or will be.
    pub(crate) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.pending_join.is_empty()
    }

    pub(crate) fn explain(&mut self, rationale: Rationale) {
        if self.rationale.len() == MOST_RATIONALES {
            self.rationale.remove(1);
        }
        self.rationale.push(rationale);
    }
}

/// What of a ticket only this crate looks at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TicketBody<'a> {
    pub(crate) clients: Cow<'a, [ClientId]>,
    #[serde(default)]
    pub(crate) attributes: Cow<'a, Attributes>,
}

impl Queues {
    /// Tickets that wait for a match, or for its game server.
    pub(crate) fn waiting(&self) -> usize {
        let pending_join: usize = self.matches.values().map(|it| it.pending_join.len()).sum();
        self.pools.values().map(Pool::len).sum::<usize>().saturating_add(pending_join)
    }

    /// When time alone changes something.
    pub(crate) fn deadline(&self) -> Option<Ticks> {
        let first = self.pools.values().filter_map(Pool::next_deadline).min()?;
        Some(Ticks(u64::try_from(first.0).unwrap_or(0)))
    }
}

/// Why a ticket ends, as it is kept until its clients were told.
pub(crate) fn reason_name(reason: MatchmakingFailureReason) -> String {
    serde_json::to_string(&reason).unwrap_or_default()
}

/// Takes a match that is kept warm: one whose game server polls already, and of those the oldest.
pub(crate) fn take_spare(
    spare: &mut BTreeMap<QueueKey, BTreeSet<MatchId>>,
    matches: &BTreeMap<MatchId, Match>,
    queue: QueueKey,
) -> Option<MatchId> {
    let spare = spare.get_mut(&queue)?;
    spare.retain(|id| matches.get(id).is_some_and(|it| !it.used && !it.closing));
    let polls = |id: &&MatchId| matches.get(id).is_some_and(|it| it.ready.is_some());
    let id = spare.iter().find(polls).or_else(|| spare.first()).copied()?;
    spare.remove(&id);
    Some(id)
}

/// The same moment on the matcher's clock.
pub(crate) fn millis(ticks: Ticks) -> Millis {
    Millis(i64::try_from(ticks.0).unwrap_or(i64::MAX))
}
