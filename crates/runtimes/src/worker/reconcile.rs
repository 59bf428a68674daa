//! The reconciler: makes containers what the rows say, and records in the rows what became of
//! containers.
//!
//! It alone writes the observed state. One run takes signals and results, decides by the rules,
//! begins operations, and waits for none of them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{HostId, Problem, RuntimeId};
use omgservers_core::{Backlog, Outcome, Ticks, Worker};

use super::{
    host_tasks::{HostOp, HostTasks},
    host_view::HostView,
};
use crate::{
    host::Attempt,
    meters::Meters,
    rules::{HostHealth, Life},
    scheduler::Need,
    shared::Shared,
    store::{self, Row, unsigned},
};

/// Rows per statement.
const PAGE: usize = 1000;
/// All rows are read again this often: the safety net behind the marks.
const RELOAD_PERIOD: Duration = Duration::from_secs(60);
/// How long listing a host may take.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// The most turns of one run that waits for its steps.
const MOST_TURNS: usize = 10_000;

/// The worker `runtimes.reconcile`. Made by
/// [`PgRuntimes::reconciler`](crate::PgRuntimes::reconciler).
pub struct Reconcile {
    pub(super) shared: Arc<Shared>,
    pub(super) entries: BTreeMap<RuntimeId, ReconciledRuntime>,
    pub(super) views: BTreeMap<HostId, HostView>,
    pub(super) tasks: HostTasks,
    /// The first problem of this run.
    pub(super) problem: Option<Problem>,
    /// Something is to be read again at once.
    pub(super) again: bool,
    pub(super) changed: usize,
    loaded: Option<Ticks>,
    pub(super) meters: Meters,
}

/// A runtime as the reconciler keeps it.
pub(super) struct ReconciledRuntime {
    pub(super) row: Row,
    /// No attempt before this.
    pub(super) not_before: Ticks,
    /// The last attempt found no host with the capacity.
    pub(super) unschedulable: bool,
    /// The host that is reserved while its image is pulled or its start waits.
    pub(super) reserved: Option<HostId>,
}

impl ReconciledRuntime {
    fn new(row: Row, now: Ticks) -> Self {
        Self { row, not_before: now, unschedulable: false, reserved: None }
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
            unschedulable: self.unschedulable,
        }
    }

    pub(super) fn need(&self) -> Need {
        Need { cpu: unsigned(self.row.cpu), memory: unsigned(self.row.memory) }
    }
}

impl Reconcile {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let tasks = HostTasks::new(shared.doorbell.clone());
        Self {
            shared,
            entries: BTreeMap::new(),
            views: BTreeMap::new(),
            tasks,
            problem: None,
            again: false,
            changed: 0,
            loaded: None,
            meters: Meters::new(),
        }
    }

    async fn turn(&mut self, list_all: bool) -> Result<(), Problem> {
        let now = self.shared.clock.ticks();
        self.load_hosts(now).await?;
        let dirty = self.receive_signals(now);
        self.load_rows(dirty, now).await?;
        for (host, result) in self.tasks.take_results(now) {
            self.record_result(host, result, now).await;
        }
        self.probe(now, list_all);
        self.follow(now).await;
        self.start_waiting(now).await;
        self.sweep_strays(now).await;
        self.meters.show(self.entries.values().map(|it| it.row.observed()), self.tasks.running());
        Ok(())
    }

    async fn load_hosts(&mut self, now: Ticks) -> Result<(), Problem> {
        let host_clients = self.shared.host_clients().await?;
        self.views.retain(|id, _| host_clients.iter().any(|it| it.host.id == *id));
        for host_client in host_clients {
            let view = self
                .views
                .entry(host_client.host.id)
                .or_insert_with(|| HostView::new(Arc::clone(&host_client), now));
            // The operator may have changed its description.
            view.host_client = host_client;
        }
        Ok(())
    }

    /// Applies the signals; returns the rows to read.
    fn receive_signals(&mut self, now: Ticks) -> HashSet<RuntimeId> {
        let signals = self.shared.take_signals();
        for (host, answered) in signals.pulses {
            if let Some(view) = self.views.get_mut(&host) {
                if answered { view.pulse.answered(now) } else { view.pulse.silent(now) }
            }
        }
        for host in signals.relist {
            if let Some(view) = self.views.get_mut(&host) {
                view.list_at = now;
            }
        }
        for ((host, attempt), status) in signals.seen {
            let ours = self.entries.get(&attempt.runtime).is_some_and(|it| it.attempt() == attempt);
            if let Some(view) = self.views.get_mut(&host) {
                if ours || view.knows(attempt) {
                    view.note(attempt, status);
                } else {
                    // A container of another process: the next list decides whether it is removed.
                    view.list_at = now;
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
                self.shared.requeue(dirty);
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
            let page = store::page(&mut *self.shared.db.read().await?, after, limit).await?;
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
            rows.extend(store::by_ids(&mut *self.shared.db.read().await?, ids).await?);
        }
        Ok(rows)
    }

    /// Takes a row as it is now.
    pub(super) fn put(&mut self, row: Row, now: Ticks) {
        match self.entries.get_mut(&row.id) {
            Some(entry) => entry.row = row,
            None => {
                self.entries.insert(row.id, ReconciledRuntime::new(row, now));
            }
        }
    }

    pub(super) fn health(&self, host: HostId, now: Ticks) -> HostHealth {
        // A host that left the pool answers no more.
        self.views.get(&host).map_or(HostHealth::Lost, |it| it.health(now, self.shared.config.lost_after))
    }

    /// Lists hosts that are due.
    fn probe(&mut self, now: Ticks, list_all: bool) {
        for (host, view) in &mut self.views {
            if view.health(now, self.shared.config.lost_after) == HostHealth::Lost {
                view.forget();
            }
            if (now < view.list_at && !list_all) || self.tasks.is_running(*host, &HostOp::List) {
                continue;
            }
            view.list_begins(now);
            match view.host_client.client(self.shared.connector.as_ref()) {
                Ok(client) => self.tasks.list(*host, now, LIST_LIMIT, async move {
                    let list = client.list().await?;
                    // What can't be pruned now is pruned later.
                    let _pruned = client.prune().await;
                    Ok(list)
                }),
                Err(error) => {
                    tracing::warn!(host.uri = view.host_client.host.config.uri, %error, "no way to the Docker host");
                    view.pulse.silent(now);
                }
            }
        }
    }

    /// The next moment at which there is something to do without a ring.
    fn next_moment(&self, now: Ticks) -> Option<Ticks> {
        let pauses = self.entries.values().map(|it| it.not_before).filter(|it| *it > now);
        let backing_off = self.views.values().filter_map(|it| it.next_try(now));
        pauses.chain(backing_off).chain(self.tasks.next_deadline()).min()
    }

    /// When to run again without a ring.
    fn requeue_after(&mut self) -> Option<Duration> {
        if std::mem::take(&mut self.again) {
            return Some(Duration::ZERO);
        }
        let now = self.shared.clock.ticks();
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
        self.turn(self.shared.config.inline.is_some()).await?;
        if let Some(timeout) = self.shared.config.inline {
            for _turn in 0..MOST_TURNS {
                if !std::mem::take(&mut self.again) && !self.tasks.wait(timeout).await {
                    break;
                }
                self.turn(false).await?;
            }
        }
        match self.problem.take() {
            Some(problem) => Err(problem),
            None => Ok(Outcome {
                changed: self.changed,
                requeue_after: self.requeue_after(),
                backlog: Backlog { due: self.tasks.running(), ..Backlog::default() },
            }),
        }
    }
}
