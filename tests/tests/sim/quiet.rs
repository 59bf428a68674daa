//! The quiet after the story: nothing goes wrong any more, and everything must come to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use omgservers_api::{DeploymentId, ids::Id as _};
use omgservers_core::Clock as _;

use crate::{
    rng::Rng,
    simulation::{CallMode, SYSTEM, Simulation, Verdict},
};

/// Rounds after which everything must have come to its end, and how long each takes.
const MOST_ROUNDS: usize = 120;
const ROUND: Duration = Duration::from_secs(5);
/// How often workers may wake each other without time passing. A worker that is woken later runs in
/// the next round.
const MOST_PASSES: usize = 4;

impl Simulation {
    /// Ends all troubles and waits until everything is as it should be.
    pub(crate) async fn come_to_rest(&mut self) -> Verdict {
        self.note("quiet");
        self.script.disarm().await;
        self.hosts.iter().for_each(omgservers_runtimes::FakeHost::heal);
        if self.doomed_stage {
            // What was tried may have failed; this time it doesn't.
            let (tenant, project, stage) = (self.tenant, self.project, self.stage.into());
            let deleted = self.backend().projects.delete_stage(&SYSTEM, tenant, project, &stage).await;
            deleted.map_err(|it| format!("a stage can't be deleted: {it:?}"))?;
        }
        let mut wrong = String::new();
        for _ in 0..MOST_ROUNDS {
            self.round(None, true).await?;
            match self.is_at_rest().await {
                Ok(()) => return self.check_profiles().await,
                Err(what) => wrong = what,
            }
            self.pass(ROUND);
        }
        Err(format!("no rest: {wrong}"))
    }

    /// Everybody does what they have to do.
    pub(crate) async fn round(&mut self, mut rng: Option<&mut Rng>, must_sweep: bool) -> Verdict {
        for index in 0..self.players.len() {
            let session = self.players[index].session.as_ref();
            if session.is_some_and(|it| !it.silent && !it.is_over()) {
                self.exchange(index, 0, CallMode::Whole).await?;
            }
        }
        self.meet_servers();
        for attempt in self.living() {
            self.poll(attempt, rng.as_deref_mut(), CallMode::Whole).await?;
        }
        self.run_due(must_sweep).await?;
        self.check_tickets().await
    }

    /// How many game servers have room.
    fn cores(&self) -> usize {
        let cores: u32 = self.environment.pool.iter().map(|it| it.cpu / 100).sum();
        usize::try_from(cores).unwrap()
    }

    /// Runs the workers whose doorbell has rung or whose time has come, and those that they wake in
    /// turn. With `must_sweep` a sweep that fails breaks a promise.
    pub(crate) async fn run_due(&mut self, must_sweep: bool) -> Verdict {
        for _ in 0..MOST_PASSES {
            let swept = self.run_due_sweeps(must_sweep).await?;
            let driven = self.run_due_drivers().await?;
            if swept + driven == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn run_due_sweeps(&mut self, must: bool) -> Result<usize, String> {
        let (now, mut ran) = (self.backend().clock.ticks(), 0);
        for index in 0..self.backend().sweeps.len() {
            let sweep = &mut self.backend_mut().sweeps[index];
            if !sweep.is_due(now) {
                continue;
            }
            ran += 1;
            let name = sweep.name();
            match sweep.run(now).await {
                Err(problem) if must => return Err(format!("{name} fails: {problem:?}")),
                Err(problem) => self.note(format!("{name} fails: {problem:?}")),
                Ok(_) => {}
            }
        }
        Ok(ran)
    }

    async fn run_due_drivers(&mut self) -> Result<usize, String> {
        let (now, mut ran) = (self.backend().clock.ticks(), 0);
        for index in 0..self.backend().drivers.len() {
            let driver = &mut self.backend_mut().drivers[index];
            if !driver.is_due(now) {
                continue;
            }
            ran += 1;
            let name = driver.name();
            if let Err(problem) = driver.run(now).await {
                self.note(format!("{name} fails: {problem:?}"));
            }
            self.check()?;
        }
        Ok(ran)
    }

    /// Whether everything is as it should be; if not, what isn't.
    async fn is_at_rest(&mut self) -> Verdict {
        self.check_containers().await?;
        let running = self.living();
        let backend = self.backend();
        for (client, info) in backend.clients() {
            if info.closed {
                continue;
            }
            let active = self.players.iter().filter_map(|it| it.session.as_ref());
            if !active.into_iter().any(|it| it.client == client && !it.silent) {
                return Err(format!("client {client} doesn't speak and is still there"));
            }
            let Some(route) = info.route else { return Err(format!("client {client} still waits")) };
            let server = running.iter().filter(|it| it.runtime == route).find_map(|it| self.servers.get(it));
            let Some(server) = server else {
                return Err(format!("client {client} is with {route}, which doesn't run"));
            };
            if !server.members.contains_key(&client) {
                return Err(format!("client {client} is with {route}, which doesn't know it"));
            }
        }
        self.check_books()?;
        self.tickets_at_rest(running.len() < self.cores()).await?;
        let active = self.players.iter().filter_map(|it| it.session.as_ref());
        for session in active.filter(|it| !it.silent && !it.is_over()) {
            self.check_session(session)?;
        }
        Ok(())
    }

    fn check_session(&self, session: &crate::player::Session) -> Verdict {
        let client = session.client;
        let info = self.backend().messaging.client(client);
        let Some(info) = info.filter(|it| !it.closed) else {
            return Err(format!("client {client} is over and doesn't know it"));
        };
        if session.assigned.last() != info.route.as_ref() {
            return Err(format!(
                "client {client} was told {:?} and is with {:?}",
                session.assigned, info.route
            ));
        }
        session.check_promises()?;
        let none = BTreeSet::new();
        let arrived = self.taken.get(&client).unwrap_or(&none);
        let acknowledged = session.acknowledged.map_or(0, |it| it + 1);
        let runtimes = self.backend().messaging.runtimes();
        // A runtime that the client has left may end with messages that it hasn't fetched. They
        // are gone with it.
        let gone = |number: &u64| {
            let behind = self.behind.get(&client).and_then(|it| it.get(number));
            behind.is_some_and(|it| runtimes.iter().all(|(runtime, _)| runtime != it))
        };
        if let Some(missing) = (0..acknowledged).find(|it| !arrived.contains(it) && !gone(it)) {
            return Err(format!("message {missing} of client {client} was acknowledged and never arrived"));
        }
        Ok(())
    }

    /// Lobbies and matches, runtimes, mailboxes and containers are the same.
    async fn check_containers(&self) -> Verdict {
        let deployments: BTreeMap<i64, bool> = self
            .select("select id, created = max(created) over (partition by stage_id) from deployments.listed")
            .await
            .iter()
            .map(|it| (it.get(0), it.get(1)))
            .collect();
        let mut lobbies: BTreeMap<i64, i64> = BTreeMap::new();
        for row in self.select("select runtime_id, deployment_id, closing from matchmaking.lobby").await {
            let (runtime, deployment): (i64, i64) = (row.get(0), row.get(1));
            if row.get(2) {
                return Err(format!("the lobby with runtime {runtime} is still being closed"));
            }
            if !deployments.contains_key(&deployment) {
                return Err(format!("a lobby of deployment {deployment}, which is gone"));
            }
            lobbies.insert(runtime, deployment);
        }
        let mut all: BTreeSet<i64> = lobbies.keys().copied().collect();
        for row in self.select("select runtime_id, deployment_id from matchmaking.match").await {
            let (runtime, deployment): (i64, i64) = (row.get(0), row.get(1));
            if !deployments.contains_key(&deployment) {
                return Err(format!("a match of deployment {deployment}, which is gone"));
            }
            all.insert(runtime);
        }
        same("runtimes", self.ids("select id from runtimes.runtime").await, &all)?;
        let mailboxes = self.backend().messaging.runtimes().into_iter().map(|it| it.0.get()).collect();
        same("mailboxes", mailboxes, &all)?;
        same("mailboxes in the database", self.ids("select id from messaging.runtime_box").await, &all)?;
        let running = self.ids("select id from runtimes.runtime where observed = 'running'").await;
        let containers: Vec<_> = self.hosts.iter().flat_map(|it| it.containers()).collect();
        same("containers", containers.iter().map(|it| it.spec.attempt.runtime.get()).collect(), &running)?;
        if containers.len() != running.len() {
            return Err("a runtime has two containers".into());
        }
        // Warm lobbies may wait for room for ever.
        if running.len() < self.cores() {
            same("running runtimes", running, &all)?;
        }
        let stuck = self
            .living()
            .into_iter()
            .find(|it| self.servers.get(it).is_none_or(|it| it.hung || it.dismissed));
        if let Some(stuck) = stuck {
            return Err(format!("game server {stuck} does nothing and still runs"));
        }
        self.check_replaced(&deployments, &lobbies)
    }

    /// Replaced deployments have clients, or go.
    fn check_replaced(&self, deployments: &BTreeMap<i64, bool>, lobbies: &BTreeMap<i64, i64>) -> Verdict {
        let clients = self.backend().clients();
        let in_use: BTreeSet<DeploymentId> =
            clients.iter().filter(|it| !it.1.closed).map(|it| it.1.deployment).collect();
        for (id, newest) in deployments {
            let deployment = DeploymentId::from_i64(*id).unwrap();
            if self.doomed_stage {
                return Err(format!("deployment {id} outlives its stage"));
            }
            if !newest && !in_use.contains(&deployment) {
                return Err(format!("deployment {id} is replaced and empty and doesn't go"));
            }
            let warm = usize::try_from(self.config.min_lobbies).unwrap();
            if *newest && lobbies.values().filter(|it| *it == id).count() < warm {
                return Err(format!("deployment {id} has fewer than {warm} lobbies"));
            }
        }
        let gone = in_use.into_iter().find(|it| !deployments.contains_key(&it.get()));
        gone.map_or(Ok(()), |it| Err(format!("deployment {it} is gone and has clients")))
    }

    async fn check_profiles(&self) -> Verdict {
        if self.doomed_stage {
            return Ok(());
        }
        let users: Vec<_> = self.profiles.keys().copied().collect();
        let found = self.backend().players.profiles(self.stage, &users).await;
        let found = found.map_err(|it| format!("no profiles: {it:?}"))?;
        for (user, profile) in &self.profiles {
            let found = &found[user];
            if !profile.possible.contains(&**found) {
                return Err(format!(
                    "user {user} has the profile {found}, expected one of {:?}",
                    profile.possible
                ));
            }
        }
        Ok(())
    }

    async fn ids(&self, query: &str) -> BTreeSet<i64> {
        self.select(query).await.iter().map(|it| it.get(0)).collect()
    }

    async fn select(&self, query: &str) -> Vec<tokio_postgres::Row> {
        self.sql.query(query, &[]).await.unwrap()
    }
}

fn same(what: &str, found: BTreeSet<i64>, expected: &BTreeSet<i64>) -> Verdict {
    if found == *expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}
