//! The workers of this crate.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use omgservers_api::{DeploymentId, Problem, RuntimeId, ids::Id as _, interchange::Reason};
use omgservers_core::{Doorbell, Outcome, Ticks, Worker};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{Mailbox, Op};

use crate::{PgMatchmaking, store};

/// Reconciles the deployments that are due in the queue.
pub struct ReconcileDeployments(pub Arc<PgMatchmaking>);

impl ReconcileDeployments {
    /// What wakes it.
    pub fn doorbell(&self) -> Doorbell {
        self.0.parts.changed.doorbell()
    }

    async fn reconcile(&self, id: DeploymentId) -> usize {
        match self.0.reconcile(id).await {
            Ok(count) => count,
            Err(problem) => {
                tracing::error!(deployment.id = %id, ?problem, "a deployment could not be reconciled; it is tried again");
                self.0.parts.changed.requeue_after(id, RETRY_PAUSE);
                0
            }
        }
    }
}

/// Deployments that are reconciled at the same time.
const AT_A_TIME: usize = 8;
/// Deployments of one run: the status shows the progress after each run.
const MOST_PER_RUN: usize = 1_000;
/// The pause after a deployment could not be reconciled.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[async_trait::async_trait]
impl Worker for ReconcileDeployments {
    fn name(&self) -> &'static str {
        "matchmaking.reconcile_deployments"
    }
    fn description(&self) -> &'static str {
        "Opens, fills and closes the lobbies and matches of deployments that changed."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let changed = &self.0.parts.changed;
        // A deployment with much to do doesn't hold up the others.
        let reconciled = stream::iter(changed.take_due(MOST_PER_RUN)).map(|id| self.reconcile(id));
        let done = reconciled
            .buffer_unordered(AT_A_TIME)
            .fold(0, async |sum: usize, count| sum.saturating_add(count))
            .await;
        Ok(Outcome { changed: done, requeue_after: changed.next_wake(), backlog: changed.backlog() })
    }
}

/// Enqueues every deployment that may need work: at the start, and each period as a safety net.
/// Stops runtimes that nobody owns.
pub struct Resync(pub Arc<PgMatchmaking>);

const PAGE: u32 = 500;

#[async_trait::async_trait]
impl Worker for Resync {
    fn name(&self) -> &'static str {
        "matchmaking.resync"
    }
    fn description(&self) -> &'static str {
        "Finds deployments whose change was missed, and stops runtimes that nobody owns."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let parts = &self.0.parts;
        let mut needy: BTreeSet<DeploymentId> = self.0.states.known().iter().map(|it| it.id).collect();
        needy.extend(store::deployments(&mut *parts.db.read().await?).await?);
        needy.extend(parts.messaging.deployments());
        let mut after = None;
        loop {
            let page = parts.deployments.page(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.deployment.id);
            for (full, newest) in &page {
                if !newest || full.config.min_lobbies > 0 || self.keeps_matches(full).await {
                    needy.insert(full.deployment.id);
                }
            }
        }
        parts.changed.enqueue_all(needy);
        Ok(Outcome::changed(self.stop_unowned().await?))
    }
}

impl Resync {
    /// Whether matches are to be warm before anybody comes.
    async fn keeps_matches(&self, full: &DeploymentFull) -> bool {
        let version = self.0.parts.versions.config(full.deployment.version_id).await;
        version.is_ok_and(|it| it.config.modes.iter().any(|mode| mode.min_matches > 0))
    }

    async fn stop_unowned(&self) -> Result<usize, Problem> {
        let parts = &self.0.parts;
        // Runtimes first: a lobby's row is written before its runtime is wanted. Of a runtime in a
        // slot that this process doesn't serve it can't tell.
        let wanted = parts.runtimes.wanted().await?;
        if wanted.is_empty() {
            return Ok(0);
        }
        let owned: HashSet<RuntimeId> =
            store::owned_runtimes(&mut *parts.db.read().await?).await?.into_iter().map(|it| it.0).collect();
        let unowned: Vec<RuntimeId> = wanted
            .into_iter()
            .map(|it| it.0)
            .filter(|it| parts.ownership.serving(it.slot()) && !owned.contains(it))
            .collect();
        if !unowned.is_empty() {
            tracing::warn!(runtimes = ?unowned, "runtimes without an owner are stopped");
            parts.runtimes.stop(&unowned).await?;
        }
        Ok(unowned.len())
    }
}

/// Disconnects clients without a sign of life.
pub struct ExpireClients(pub Arc<PgMatchmaking>);

const MOST_EXPIRED: usize = 1_000;

#[async_trait::async_trait]
impl Worker for ExpireClients {
    fn name(&self) -> &'static str {
        "matchmaking.expire_clients"
    }
    fn description(&self) -> &'static str {
        "Disconnects clients that have been inactive for too long."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let parts = &self.0.parts;
        let Some(before) = ago(parts.clock.ticks(), parts.config.client_inactive) else {
            return Ok(Outcome::default());
        };
        let silent = parts.messaging.idle_clients(before, MOST_EXPIRED);
        self.0.disconnect(&silent, Reason::ClientInactivity).await.map(Outcome::changed)
    }
}

/// Forgets the mailboxes of disconnected clients that receive no more.
pub struct ForgetClosed(pub Arc<PgMatchmaking>);

#[async_trait::async_trait]
impl Worker for ForgetClosed {
    fn name(&self) -> &'static str {
        "matchmaking.forget_closed"
    }
    fn description(&self) -> &'static str {
        "Removes the mailboxes of disconnected clients that nobody reads any more."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let parts = &self.0.parts;
        let Some(before) = ago(parts.clock.ticks(), parts.config.closed_kept) else {
            return Ok(Outcome::default());
        };
        let gone = parts.messaging.abandoned_clients(before, MOST_EXPIRED);
        let ops: Vec<Op> = gone.iter().map(|it| Op::Remove(Mailbox::Client(*it))).collect();
        parts.messaging.apply(ops)?.wait().await?;
        Ok(Outcome::changed(gone.len()))
    }
}

/// The point so long before `now`; `None` when the process is younger than that.
fn ago(now: Ticks, by: Duration) -> Option<Ticks> {
    now.0.checked_sub(u64::try_from(by.as_millis()).ok()?).map(Ticks)
}
