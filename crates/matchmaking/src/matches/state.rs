//! What this process knows of the matches and tickets of a deployment.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use omgservers_api::{
    ClientId, MatchId, MatchmakerId, RuntimeId, TicketId,
    interchange::{Attributes, MatchmakingFailureReason},
};
use omgservers_core::Ticks;
use omgservers_matcher::{Millis, Pool, Rationale, Ticket};
use omgservers_messaging::ClientInfo;
use omgservers_runtimes::Published;
use serde::{Deserialize, Serialize};

use crate::health::Failures;

/// The tickets and matches of one mode: a matchmaker, and the index of the mode in the version's
/// configuration.
pub(crate) type QueueKey = (MatchmakerId, usize);

/// Clients' mailboxes as they are during a round.
pub(crate) type ClientFacts = HashMap<ClientId, ClientInfo>;

/// The most rationales that a match keeps: the one that formed it, and the newest back-fills.
const MOST_RATIONALES: usize = 16;

/// The matches of a deployment and its tickets.
#[derive(Default)]
pub(crate) struct Queues {
    /// Whether this is what the database has.
    pub(crate) loaded: bool,
    pub(crate) pools: BTreeMap<QueueKey, Pool>,
    pub(crate) matches: BTreeMap<MatchId, Match>,
    pub(crate) by_runtime: HashMap<RuntimeId, MatchId>,
    /// Matches that are kept warm; some may be in use or gone.
    pub(crate) spare: BTreeMap<QueueKey, BTreeSet<MatchId>>,
    /// Matches with a pending join; some may have none any more.
    pub(crate) expecting: BTreeSet<MatchId>,
    /// Waiting tickets, and those of clients that are in a match.
    pub(crate) tickets: HashMap<TicketId, TicketEntry>,
    pub(crate) by_client: HashMap<ClientId, TicketId>,
    /// Matches that failed in a row.
    pub(crate) failures: Failures,
    pub(crate) new_ids: IdSupply,
}

/// Ids of matches that form, minted before a round needs them. They come in ascending order.
#[derive(Debug, Default)]
pub(crate) struct IdSupply {
    /// The epoch of the slot in which they were minted. An owner in between has handed out higher
    /// ids.
    pub(crate) epoch: i64,
    pub(crate) ids: VecDeque<NewMatchIds>,
    /// The queues in which a match could not form because there was no id.
    pub(crate) short: BTreeSet<QueueKey>,
}

/// The ids of one new match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewMatchIds {
    pub(crate) id: MatchId,
    pub(crate) runtime: RuntimeId,
}

/// A ticket in memory.
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
    /// When this process made or loaded it.
    pub(crate) made: Ticks,
    pub(crate) closing: bool,
    /// Its game server has sent STOP_MATCHMAKING.
    pub(crate) stopped: bool,
    /// A ticket was matched into it: it is not a warm one any more.
    pub(crate) used: bool,
    /// Its mailbox is open and its runtime is wanted.
    pub(crate) opened: bool,
    /// When its game server began to take players, in this process.
    pub(crate) ready: Option<Ticks>,
    /// Where players connect to it directly.
    pub(crate) published: Option<Arc<Published>>,
    /// Its pool fills it.
    pub(crate) is_in_pool: bool,
    /// The tickets whose clients are with it.
    pub(crate) joined: BTreeSet<TicketId>,
    /// The tickets whose clients join it when its game server polls.
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

    /// Whether no ticket is in it or will be.
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

/// The part of a ticket's row that only this crate reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TicketBody<'a> {
    pub(crate) clients: Cow<'a, [ClientId]>,
    #[serde(default)]
    pub(crate) attributes: Cow<'a, Attributes>,
}

/// A ticket whose match is ready, with those of its clients that are open.
#[derive(Debug)]
pub(crate) struct JoiningTicket {
    pub(crate) id: TicketId,
    pub(crate) match_id: MatchId,
    pub(crate) group: usize,
    pub(crate) created: DateTime<Utc>,
    pub(crate) clients: Vec<(ClientId, ClientInfo)>,
}

impl Queues {
    /// Tickets that wait for a match, or for its game server.
    pub(crate) fn waiting(&self) -> usize {
        let pending_join: usize = self.matches.values().map(|it| it.pending_join.len()).sum();
        self.queued().saturating_add(pending_join)
    }

    /// Tickets that wait for a match.
    pub(crate) fn queued(&self) -> usize {
        self.pools.values().map(Pool::len).sum()
    }

    /// When time alone changes something.
    pub(crate) fn deadline(&self) -> Option<Ticks> {
        let first = self.pools.values().filter_map(Pool::next_deadline).min()?;
        Some(Ticks(u64::try_from(first.0).unwrap_or(0)))
    }

    /// The tickets that can join their matches at once. `client` reads a client's mailbox.
    pub(crate) fn joining(&mut self, client: impl Fn(ClientId) -> Option<ClientInfo>) -> Vec<JoiningTicket> {
        let matches = &self.matches;
        self.expecting.retain(|id| matches.get(id).is_some_and(|it| !it.pending_join.is_empty()));
        let open = |id: &ClientId| client(*id).filter(|it| !it.closed).map(|info| (*id, info));
        let mut joining = Vec::new();
        for match_id in &self.expecting {
            let ready = matches.get(match_id).filter(|it| it.ready.is_some() && !it.closing);
            for id in ready.into_iter().flat_map(|it| &it.pending_join) {
                let Some(entry) = self.tickets.get(id) else { continue };
                let TicketState::Matched { group, .. } = entry.state else { continue };
                let clients = entry.clients.iter().filter_map(open).collect();
                let (id, match_id, created) = (*id, *match_id, entry.created);
                joining.push(JoiningTicket { id, match_id, group, created, clients });
            }
        }
        joining
    }

    /// The clients of a ticket are with its match.
    pub(crate) fn join(&mut self, ticket: TicketId, match_id: MatchId) {
        if let Some(joined) = self.matches.get_mut(&match_id)
            && joined.pending_join.remove(&ticket)
        {
            joined.joined.insert(ticket);
        }
    }

    /// A match is gone, and the tickets that had joined it.
    pub(crate) fn forget(&mut self, id: MatchId) {
        let Some(gone) = self.matches.remove(&id) else { return };
        self.by_runtime.remove(&gone.runtime);
        for ticket in gone.joined {
            if let Some(entry) = self.tickets.remove(&ticket) {
                self.forget_clients(ticket, &entry.clients);
            }
        }
    }

    /// The clients of a ticket that is gone have none any more.
    pub(crate) fn forget_clients(&mut self, ticket: TicketId, clients: &[ClientId]) {
        for client in clients {
            if self.by_client.get(client) == Some(&ticket) {
                self.by_client.remove(client);
            }
        }
    }
}

/// The reason why a ticket ends, as it is stored until its clients have received it.
pub(crate) fn reason_name(reason: MatchmakingFailureReason) -> String {
    serde_json::to_string(&reason).unwrap_or_default()
}

/// Takes a warm match: one whose game server polls already, and of those the oldest.
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
