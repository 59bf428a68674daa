//! Duties of this crate.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{DeploymentId, Problem, RuntimeId, interchange::Reason};
use omgservers_core::{Doorbell, Ticks, Worker};
use omgservers_messaging::{Mailbox, Op};
use omgservers_runtimes::RuntimeState;

use crate::{PgMatchmaking, store};

/// Tends the deployments that something happened to. Rung by everything that happens.
pub struct Tend(pub Arc<PgMatchmaking>);

impl Tend {
    /// What wakes it.
    pub fn doorbell(&self) -> Doorbell {
        self.0.halls.bell.clone()
    }
}

#[async_trait::async_trait]
impl Worker for Tend {
    fn name(&self) -> &'static str {
        "matchmaking.tend"
    }
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        let mut done = 0;
        for id in self.0.halls.due(self.0.parts.clock.ticks()) {
            match self.0.tend(id).await {
                Ok(count) => done += count,
                Err(problem) => {
                    tracing::error!(deployment.id = %id, ?problem, "a deployment could not be tended; it is tried again");
                    let now = self.0.parts.clock.ticks();
                    self.0.halls.look_again(id, now, Some(Duration::from_secs(1)));
                }
            }
        }
        self.0.halls.arm(self.0.parts.clock.ticks());
        Ok(done)
    }
}

/// Finds deployments that need the tender though nothing told it: at the start, after a deploy or a delete, and
/// whatever was missed. Ends runtimes that nobody owns.
pub struct Survey(pub Arc<PgMatchmaking>);

const PAGE: u32 = 500;

#[async_trait::async_trait]
impl Worker for Survey {
    fn name(&self) -> &'static str {
        "matchmaking.survey"
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        let parts = &self.0.parts;
        let mut needy: HashSet<DeploymentId> = self.0.halls.known().iter().map(|it| it.id).collect();
        needy.extend(store::deployments(&mut *parts.db.read().await?).await?);
        needy.extend(
            parts.messaging.clients().into_iter().filter(|it| !it.1.closed).map(|it| it.1.deployment),
        );
        let mut after = None;
        loop {
            let page = parts.deployments.page(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.deployment.id);
            let needs = page.iter().filter(|(it, newest)| !newest || it.config.min_lobbies > 0);
            needy.extend(needs.map(|(it, _)| it.deployment.id));
        }
        for id in &needy {
            self.0.halls.touch(*id);
        }
        Ok(self.stop_unowned().await?)
    }
}

impl Survey {
    async fn stop_unowned(&self) -> Result<usize, Problem> {
        let parts = &self.0.parts;
        // Runtimes first: a lobby's row is written before its runtime is wanted.
        let wanted = parts.runtimes.wanted().await?;
        if wanted.is_empty() {
            return Ok(0);
        }
        let owned: HashSet<RuntimeId> =
            store::owned_runtimes(&mut *parts.db.read().await?).await?.into_iter().map(|it| it.0).collect();
        let unowned: Vec<RuntimeId> =
            wanted.into_iter().map(|it| it.0).filter(|it| !owned.contains(it)).collect();
        if !unowned.is_empty() {
            tracing::warn!(runtimes = ?unowned, "runtimes without an owner are stopped");
            parts.runtimes.stop(&unowned).await?;
        }
        Ok(unowned.len())
    }
}

/// Wakes the tender for the deployments whose runtimes have changed.
pub struct WatchRuntimes {
    matchmaking: Arc<PgMatchmaking>,
    seen: HashMap<RuntimeId, RuntimeState>,
}

impl WatchRuntimes {
    /// Has seen nothing.
    pub fn new(matchmaking: Arc<PgMatchmaking>) -> Self {
        Self { matchmaking, seen: HashMap::new() }
    }
    /// What wakes it.
    pub fn doorbell(&self) -> Doorbell {
        self.matchmaking.parts.runtimes.changed()
    }
}

#[async_trait::async_trait]
impl Worker for WatchRuntimes {
    fn name(&self) -> &'static str {
        "matchmaking.watch_runtimes"
    }
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        let parts = &self.matchmaking.parts;
        let owned = store::owned_runtimes(&mut *parts.db.read().await?).await?;
        let ids: Vec<RuntimeId> = owned.iter().map(|it| it.0).collect();
        let states = parts.runtimes.states(&ids).await?;
        let mut changed = 0;
        for (runtime, deployment) in owned {
            if states.get(&runtime) != self.seen.get(&runtime) {
                self.matchmaking.halls.touch(deployment);
                changed += 1;
            }
        }
        self.seen = states;
        Ok(changed)
    }
}

/// Disconnects clients that are not heard of any more.
pub struct ExpireClients(pub Arc<PgMatchmaking>);

const MOST_EXPIRED: usize = 1_000;

#[async_trait::async_trait]
impl Worker for ExpireClients {
    fn name(&self) -> &'static str {
        "matchmaking.expire_clients"
    }
    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        let parts = &self.0.parts;
        let Some(before) = ago(parts.clock.ticks(), parts.config.client_inactive) else { return Ok(0) };
        let silent = parts.messaging.silent_clients(before, MOST_EXPIRED);
        let mut expired = 0;
        for client in silent {
            expired += usize::from(self.0.disconnect(client, Reason::ClientInactivity).await?);
        }
        Ok(expired)
    }
}

/// Forgets what disconnected clients don't come to fetch.
pub struct ForgetClosed(pub Arc<PgMatchmaking>);

#[async_trait::async_trait]
impl Worker for ForgetClosed {
    fn name(&self) -> &'static str {
        "matchmaking.forget_closed"
    }
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        let parts = &self.0.parts;
        let Some(before) = ago(parts.clock.ticks(), parts.config.closed_kept) else { return Ok(0) };
        let gone = parts.messaging.abandoned_clients(before, MOST_EXPIRED);
        let ops: Vec<Op> = gone.iter().map(|it| Op::Remove(Mailbox::Client(*it))).collect();
        parts.messaging.apply(ops)?.wait().await?;
        Ok(gone.len())
    }
}

/// The point so long before `now`; `None` when the process is younger than that.
fn ago(now: Ticks, by: Duration) -> Option<Ticks> {
    now.0.checked_sub(u64::try_from(by.as_millis()).ok()?).map(Ticks)
}
