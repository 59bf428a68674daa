//! The reconciler: makes containers what the rows say, and rows tell what became of containers.
//!
//! It alone writes what is observed. One run takes what was told and what ended, decides by the rules, begins
//! steps, and waits for none of them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{HostId, Problem, RuntimeId};
use omgservers_core::{Backlog, Outcome, Ticks, Worker};

use super::{
    ops::{Done, Job, Ops},
    seat::Seat,
};
use crate::{
    host::Attempt,
    inner::Inner,
    meters::Meters,
    rules::{Health, Life},
    scheduler::Need,
    store::{self, Row, unsigned},
};

/// Rows per statement.
const PAGE: usize = 1000;
/// All rows are read again this often, whatever was told: the safety net behind the marks.
const RELOAD_PERIOD: Duration = Duration::from_secs(60);
/// How long listing a host may take.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// The most turns of one run that waits for its steps.
const MOST_TURNS: usize = 10_000;

/// The worker `runtimes.reconcile`. Made by [`PgRuntimes::reconciler`](crate::PgRuntimes::reconciler).
pub struct Reconcile {
    pub(super) inner: Arc<Inner>,
    pub(super) entries: BTreeMap<RuntimeId, Entry>,
    pub(super) seats: BTreeMap<HostId, Seat>,
    pub(super) ops: Ops,
    /// The first thing that went wrong in this run.
    pub(super) trouble: Option<Problem>,
    /// Something is to be read again at once.
    pub(super) again: bool,
    pub(super) changed: usize,
    loaded: Option<Ticks>,
    pub(super) meters: Meters,
}

/// A runtime as the reconciler keeps it.
pub(super) struct Entry {
    pub(super) row: Row,
    /// No attempt before this.
    pub(super) not_before: Ticks,
    /// The last attempt found no room.
    pub(super) cramped: bool,
    /// The host that waits for its image, or that it waits for.
    pub(super) reserved: Option<HostId>,
}

impl Entry {
    fn new(row: Row, now: Ticks) -> Self {
        Self { row, not_before: now, cramped: false, reserved: None }
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt { runtime: self.row.id, epoch: self.row.epoch() }
    }

    pub(super) fn life(&self) -> Life {
        Life {
            desired: self.row.desired(),
            observed: self.row.observed(),
            placed: self.row.host_id.is_some(),
            not_before: self.not_before,
            cramped: self.cramped,
        }
    }

    pub(super) fn need(&self) -> Need {
        Need { cpu: unsigned(self.row.cpu), memory: unsigned(self.row.memory) }
    }
}

impl Reconcile {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let ops = Ops::new(inner.bell.clone());
        Self {
            inner,
            entries: BTreeMap::new(),
            seats: BTreeMap::new(),
            ops,
            trouble: None,
            again: false,
            changed: 0,
            loaded: None,
            meters: Meters::new(),
        }
    }

    async fn turn(&mut self, look_everywhere: bool) -> Result<(), Problem> {
        let now = self.inner.clock.ticks();
        self.load_hosts(now).await?;
        let dirty = self.hear(now);
        self.load_rows(dirty, now).await?;
        for (job, result) in self.ops.ended(now) {
            self.settle(job, result, now).await;
        }
        self.probe(now, look_everywhere);
        self.follow(now).await;
        self.start_waiting(now).await;
        self.sweep_strays(now).await;
        self.meters.show(self.entries.values().map(|it| it.row.observed()), self.ops.under_way());
        Ok(())
    }

    async fn load_hosts(&mut self, now: Ticks) -> Result<(), Problem> {
        let links = self.inner.links().await?;
        self.seats.retain(|id, _| links.iter().any(|it| it.host.id == *id));
        for link in links {
            let seat = self.seats.entry(link.host.id).or_insert_with(|| Seat::new(Arc::clone(&link), now));
            // The operator may have described it anew.
            seat.link = link;
        }
        Ok(())
    }

    /// Takes what was told; returns the rows to read.
    fn hear(&mut self, now: Ticks) -> HashSet<RuntimeId> {
        let signals = self.inner.take_signals();
        for (host, answered) in signals.pulses {
            if let Some(seat) = self.seats.get_mut(&host) {
                if answered { seat.pulse.answered(now) } else { seat.pulse.silent(now) }
            }
        }
        for host in signals.relist {
            if let Some(seat) = self.seats.get_mut(&host) {
                seat.list_at = now;
            }
        }
        for ((host, attempt), status) in signals.seen {
            let ours = self.entries.get(&attempt.runtime).is_some_and(|it| it.attempt() == attempt);
            if let Some(seat) = self.seats.get_mut(&host) {
                if ours || seat.knows(attempt) {
                    seat.note(attempt, status);
                } else {
                    // Somebody else's doing: a list tells whether it is to be removed.
                    seat.list_at = now;
                }
            }
        }
        signals.dirty
    }

    async fn load_rows(&mut self, dirty: HashSet<RuntimeId>, now: Ticks) -> Result<(), Problem> {
        let due = self.loaded.is_none_or(|it| now.since(it) >= RELOAD_PERIOD);
        let read = if due { self.read_all().await } else { self.read_some(&dirty).await };
        let rows = match read {
            Ok(rows) => rows,
            Err(problem) => {
                self.inner.put_back(dirty);
                return Err(problem);
            }
        };
        let found: HashSet<RuntimeId> = rows.iter().map(|it| it.id).collect();
        if due {
            self.loaded = Some(now);
            self.entries.retain(|id, _| found.contains(id));
        } else {
            for id in dirty.difference(&found) {
                self.entries.remove(id);
            }
        }
        for row in rows {
            self.put(row, now);
        }
        Ok(())
    }

    async fn read_all(&self) -> Result<Vec<Row>, Problem> {
        let mut all: Vec<Row> = Vec::new();
        loop {
            let after = all.last().map(|it| it.id);
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let page = store::page(&mut *self.inner.db.read().await?, after, limit).await?;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    async fn read_some(&self, dirty: &HashSet<RuntimeId>) -> Result<Vec<Row>, Problem> {
        let ids: Vec<RuntimeId> = dirty.iter().copied().collect();
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PAGE) {
            rows.extend(store::by_ids(&mut *self.inner.db.read().await?, ids).await?);
        }
        Ok(rows)
    }

    /// Takes a row as it is now.
    pub(super) fn put(&mut self, row: Row, now: Ticks) {
        match self.entries.get_mut(&row.id) {
            Some(entry) => entry.row = row,
            None => {
                self.entries.insert(row.id, Entry::new(row, now));
            }
        }
    }

    pub(super) fn health(&self, host: HostId, now: Ticks) -> Health {
        // A host that left the pool can't tell anything any more.
        self.seats.get(&host).map_or(Health::Lost, |it| it.health(now, self.inner.config.lost_after))
    }

    /// Lists hosts that are due.
    fn probe(&mut self, now: Ticks, look_everywhere: bool) {
        for (host, seat) in &mut self.seats {
            if seat.health(now, self.inner.config.lost_after) == Health::Lost {
                seat.forget();
            }
            let job = Job::List(*host);
            if (now < seat.list_at && !look_everywhere) || self.ops.is_under_way(&job) {
                continue;
            }
            seat.list_begins(now);
            match seat.link.client(self.inner.connector.as_ref()) {
                Ok(client) => self.ops.begin(job, now, LIST_LIMIT, async move {
                    let list = client.list().await?;
                    // What can't be tidied now is tidied later.
                    let _tidied = client.tidy().await;
                    Ok(Done::Listed(list))
                }),
                Err(error) => {
                    tracing::warn!(host.uri = seat.link.host.config.uri, %error, "no way to the Docker host");
                    seat.pulse.silent(now);
                }
            }
        }
    }

    /// The next moment at which there is something to do without a ring.
    fn next_moment(&self, now: Ticks) -> Option<Ticks> {
        let pauses = self.entries.values().map(|it| it.not_before).filter(|it| *it > now);
        let quiet = self.seats.values().filter_map(|it| it.next_try(now));
        pauses.chain(quiet).chain(self.ops.next_deadline()).min()
    }

    /// When to run again without a ring.
    fn requeue_after(&mut self) -> Option<Duration> {
        if std::mem::take(&mut self.again) {
            return Some(Duration::ZERO);
        }
        let now = self.inner.clock.ticks();
        // A little later rather than a little too early.
        self.next_moment(now).map(|at| at.since(now).saturating_add(Duration::from_millis(2)))
    }
}

#[async_trait::async_trait]
impl Worker for Reconcile {
    fn name(&self) -> &'static str {
        "runtimes.reconcile"
    }
    fn description(&self) -> &'static str {
        "Starts, watches and removes containers until they are what the runtimes ask for."
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        self.changed = 0;
        self.turn(self.inner.config.inline.is_some()).await?;
        if let Some(patience) = self.inner.config.inline {
            for _turn in 0..MOST_TURNS {
                if !std::mem::take(&mut self.again) && !self.ops.wait(patience).await {
                    break;
                }
                self.turn(false).await?;
            }
        }
        match self.trouble.take() {
            Some(problem) => Err(problem),
            None => Ok(Outcome {
                changed: self.changed,
                requeue_after: self.requeue_after(),
                backlog: Backlog { due: self.ops.under_way(), ..Backlog::default() },
            }),
        }
    }
}
