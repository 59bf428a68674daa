//! Matches and who waits for one: what is remembered of each deployment.

mod act;
mod ask;
mod load;
mod place;
mod round;
pub(crate) mod rules;
mod show;
mod tend;

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
use omgservers_matcher::{MatchKey, Pool, Rationale, Ticket};
use omgservers_runtimes::Published;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    ask::{Answer, Ask, Note, Wish, answered},
    show::match_refs,
};

/// Who waits for a match of one mode: a matchmaker, and the place of the mode in the version's configuration.
pub(crate) type Queue = (MatchmakerId, usize);

/// Rationales that are kept of a match: of who began it, and of the last who joined.
const MOST_RATIONALES: usize = 16;

/// The matches of a deployment and its tickets.
#[derive(Default)]
pub(crate) struct Queues {
    /// Whether this is what the database has.
    pub(crate) loaded: bool,
    pub(crate) pools: BTreeMap<Queue, Pool>,
    pub(crate) matches: BTreeMap<MatchId, Match>,
    pub(crate) by_runtime: HashMap<RuntimeId, MatchId>,
    pub(crate) by_key: HashMap<(Queue, MatchKey), MatchId>,
    /// Matches that are kept warm; of some that isn't true any more.
    pub(crate) spare: BTreeMap<Queue, BTreeSet<MatchId>>,
    /// Matches that somebody is still to join; of some that isn't true any more.
    pub(crate) expecting: BTreeSet<MatchId>,
    /// Open tickets, and those of clients that are in a match.
    pub(crate) tickets: HashMap<TicketId, Held>,
    pub(crate) by_client: HashMap<ClientId, TicketId>,
    /// Matches that failed in a row.
    pub(crate) failures: u32,
    pub(crate) retry_at: Ticks,
}

/// A ticket as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) queue: Queue,
    pub(crate) created: DateTime<Utc>,
    pub(crate) clients: Vec<ClientId>,
    pub(crate) place: Place,
}

/// Where a ticket is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In its pool.
    Waiting,
    /// In a match. The pool doesn't have it any more.
    Placed { match_id: MatchId, group: usize, ticket: Ticket },
}

/// A match.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) runtime: RuntimeId,
    pub(crate) queue: Queue,
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
    /// Under which its pool fills it.
    pub(crate) key: Option<MatchKey>,
    /// Those whose clients are with it.
    pub(crate) seated: BTreeSet<TicketId>,
    /// Those whose clients will be with it when its game server polls.
    pub(crate) coming: BTreeSet<TicketId>,
    pub(crate) rationale: Vec<Rationale>,
}

impl Match {
    pub(crate) fn new(runtime: RuntimeId, queue: Queue, created: DateTime<Utc>, made: Ticks) -> Self {
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
            key: None,
            seated: BTreeSet::new(),
            coming: BTreeSet::new(),
            rationale: Vec::new(),
        }
    }

    /// Whether nobody is in it or will be.
    pub(crate) fn is_empty(&self) -> bool {
        self.seated.is_empty() && self.coming.is_empty()
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
struct TicketBody<'a> {
    clients: Cow<'a, [ClientId]>,
    #[serde(default)]
    attributes: Cow<'a, Attributes>,
}

impl Queues {
    /// Tickets that wait for a match, or for its game server.
    pub(crate) fn waiting(&self) -> usize {
        let coming: usize = self.matches.values().map(|it| it.coming.len()).sum();
        self.pools.values().map(Pool::len).sum::<usize>().saturating_add(coming)
    }

    /// A match that is kept warm: one whose game server polls already, and of those the oldest.
    fn take_spare(&mut self, queue: Queue) -> Option<MatchId> {
        let spare = self.spare.get_mut(&queue)?;
        let matches = &self.matches;
        spare.retain(|id| matches.get(id).is_some_and(|it| !it.used && !it.closing));
        let polls = |id: &&MatchId| matches.get(id).is_some_and(|it| it.ready.is_some());
        let id = spare.iter().find(polls).or_else(|| spare.first()).copied()?;
        spare.remove(&id);
        Some(id)
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
