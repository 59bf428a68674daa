//! The tender: makes a deployment's lobbies match what its players need.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_api::{
    ClientId, DeploymentId, Kind, LobbyId, Problem, RuntimeId, RuntimeQualifier, UserId,
    ids::Id as _,
    interchange::{Reason, command, message},
};
use omgservers_core::Ticks;
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{Body, Mailbox, Op};
use omgservers_runtimes::{NewRuntime, RuntimeState};
use omgservers_versions::image_for;

use crate::{
    PgMatchmaking, bodies, direct,
    halls::{Cell, Hall, Lobby, Waiting},
    pg::disconnect_ops,
    rules::{self, Facts, LobbyFacts, LobbyState, Step, WaitingFacts},
    store::{self, LobbyRow},
};

/// Rounds of plan and action in one run; what is left after them is left to the next one.
const MOST_ROUNDS: usize = 8;
/// Lobbies that are opened in one transaction; the next plan asks for the rest.
const MOST_OPENED: u32 = 100;
/// Clients that are assigned in one commit.
const MOST_ASSIGNED: usize = 500;
/// A lobby that was ready for this long ends a row of failures.
const PROVEN: Duration = Duration::from_secs(30);

/// What becomes of the clients of a lobby that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They wait for the next lobby.
    Moved,
    /// They are told INTERNAL_FAILURE.
    Disconnected,
}

impl PgMatchmaking {
    /// Looks at one deployment and does what it needs. Answers how many things were done.
    pub(crate) async fn tend(&self, id: DeploymentId) -> Result<usize, Problem> {
        let cell = self.halls.cell(id);
        let mut hall = cell.hall.lock().await;
        let Some((full, active)) = self.living(id).await? else {
            return self.dissolve(&cell, &mut hall).await;
        };
        self.load(&cell, &mut hall, &full).await?;
        let mut done = 0;
        for _ in 0..MOST_ROUNDS {
            let now = self.parts.clock.ticks();
            let matches = self.tend_matches(&cell, &mut hall, &full, active).await?;
            self.take_in(&cell, &mut hall, id);
            let (facts, deadline) = self.facts(&cell, &mut hall, &full, active).await?;
            let (steps, again) = rules::plan(&facts);
            done += matches.done;
            if steps.is_empty() && matches.done == 0 {
                let again = [again, deadline, matches.again].into_iter().flatten().min();
                self.halls.look_again(id, now, again);
                return Ok(done);
            }
            done += steps.len();
            if !self.act(&cell, &mut hall, &full, steps).await? {
                return Ok(done);
            }
        }
        self.halls.touch(id);
        Ok(done)
    }

    /// The deployment and whether it is its stage's newest; `None` when it is gone.
    async fn living(&self, id: DeploymentId) -> Result<Option<(Arc<DeploymentFull>, bool)>, Problem> {
        let full = match self.parts.deployments.full(id).await {
            Ok(full) => full,
            Err(problem) if problem.kind() == Kind::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        match self.parts.deployments.newest(full.deployment.stage_id).await {
            Ok(newest) if newest.deployment.id == id => return Ok(Some((full, true))),
            Err(problem) if problem.kind() != Kind::NotFound => return Err(problem),
            _ => {}
        }
        let exists = self.parts.deployments.exist(&[id]).await?.contains(&id);
        Ok(exists.then_some((full, false)))
    }

    /// Brings in what the database and the mailboxes have, once per process, and finishes what a crash left half
    /// done.
    pub(crate) async fn load(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        if hall.loaded {
            return Ok(());
        }
        let now = self.parts.clock.ticks();
        let rows = store::lobbies(&mut *self.parts.db.read().await?, cell.id).await?;
        let ids: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        let states = self.parts.runtimes.states(&ids).await?;
        for row in rows {
            if !row.closing {
                if self.parts.messaging.runtime(row.runtime_id).is_none() {
                    self.open_mailbox(full, row.id, row.runtime_id).await?;
                }
                if !states.contains_key(&row.runtime_id) {
                    self.start_runtimes(full, &[row.runtime_id], RuntimeQualifier::Lobby).await?;
                }
            }
            let lobby = Lobby::new(row.runtime_id, now, row.closing);
            hall.lobbies.entry(row.id).or_insert(lobby).closing |= row.closing;
        }
        let known: HashSet<ClientId> = hall.waiting.iter().map(|it| it.client).collect();
        for (client, info) in self.parts.messaging.clients_in(cell.id) {
            let waits = info.route.is_none() && !info.closed;
            if waits && !known.contains(&client) {
                hall.waiting.push_back(Waiting { client, since: now });
            }
        }
        hall.loaded = true;
        Ok(())
    }

    /// New clients wait behind the others; those that left, or have a runtime, don't wait.
    fn take_in(&self, cell: &Cell, hall: &mut Hall, id: DeploymentId) {
        let arrivals = cell.take_arrivals();
        if !arrivals.is_empty() {
            let mut known: HashSet<ClientId> = hall.waiting.iter().map(|it| it.client).collect();
            hall.waiting.extend(arrivals.into_iter().filter(|it| known.insert(it.client)));
        }
        hall.waiting.retain(|it| {
            let info = self.parts.messaging.client(it.client);
            info.is_some_and(|it| it.deployment == id && it.route.is_none() && !it.closed)
        });
    }

    async fn facts(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<(Facts, Option<Duration>), Problem> {
        let now = self.parts.clock.ticks();
        let ids: Vec<RuntimeId> = hall.lobbies.values().map(|it| it.runtime).collect();
        let states = self.parts.runtimes.states(&ids).await?;
        let mut deadline: Option<Duration> = None;
        let mut lobbies = Vec::with_capacity(hall.lobbies.len());
        for (id, lobby) in &mut hall.lobbies {
            let info = self.parts.messaging.runtime(lobby.runtime);
            let (state, left) = self.lobby_state(lobby, states.get(&lobby.runtime), now);
            lobby.published = direct::published(states.get(&lobby.runtime));
            deadline = [deadline, left].into_iter().flatten().min();
            if state == LobbyState::Ready {
                lobby.ready.get_or_insert(now);
            }
            let clients = u32::try_from(info.map_or(0, |it| it.clients)).unwrap_or(u32::MAX);
            lobbies.push(LobbyFacts { id: *id, state, clients, age: now.since(lobby.made) });
        }
        if hall.lobbies.values().any(|it| it.ready.is_some_and(|since| now.since(since) >= PROVEN)) {
            hall.failures = 0;
        }
        let min_lifetime = match full.config.lobby.min_lifetime {
            0 => self.parts.config.lobby_min_lifetime,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        let waited = |it: &Waiting| WaitingFacts { client: it.client, waited: now.since(it.since) };
        let facts = Facts {
            active,
            min_lobbies: full.config.min_lobbies,
            max_lobbies: full.config.max_lobbies,
            capacity: full.config.lobby.max_assignments,
            min_lifetime,
            wait_timeout: self.parts.config.wait_timeout,
            pause: hall.retry_at.since(now),
            requested: cell.requested(),
            lobbies,
            matches: hall.queues.matches.len(),
            waiting: hall.waiting.iter().map(waited).collect(),
        };
        Ok((facts, deadline))
    }

    /// Where a lobby stands, and after what time it counts as hung.
    fn lobby_state(
        &self,
        lobby: &Lobby,
        state: Option<&RuntimeState>,
        now: Ticks,
    ) -> (LobbyState, Option<Duration>) {
        let polled = self.parts.messaging.runtime(lobby.runtime).map(|it| it.last_seen);
        let running = match state {
            Some(RuntimeState::Running { since, .. }) => Some(*since),
            Some(RuntimeState::Starting { .. }) | None => None,
            Some(RuntimeState::Failed(_) | RuntimeState::Stopping) => return (LobbyState::Broken, None),
        };
        let Some(last_seen) = polled.filter(|_| !lobby.closing) else { return (LobbyState::Broken, None) };
        // A container counts from its start, not from the row: its image may take long to come.
        let Some(heard) = last_seen.or(running) else { return (LobbyState::Starting, None) };
        let silent = now.since(heard);
        if silent > self.parts.config.runtime_inactive {
            return (LobbyState::Broken, None);
        }
        let left = (self.parts.config.runtime_inactive - silent).saturating_add(Duration::from_millis(1));
        // Before the start is confirmed its ports aren't known, and it may turn out to have failed.
        let ready = last_seen.is_some() && running.is_some();
        (if ready { LobbyState::Ready } else { LobbyState::Starting }, Some(left))
    }

    /// Carries a plan out; `false` when the deployment is gone afterwards.
    async fn act(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        steps: Vec<Step>,
    ) -> Result<bool, Problem> {
        let mut assigned = Vec::new();
        for step in steps {
            match step {
                Step::Assign { client, lobby } => assigned.push((client, lobby)),
                Step::Discard(lobby) => {
                    self.count_failure(hall, lobby);
                    self.close_lobby(cell, hall, lobby, Fate::Moved).await?;
                }
                Step::Close(lobby) => {
                    self.close_lobby(cell, hall, lobby, Fate::Moved).await?;
                }
                Step::GiveUp(client) => {
                    let ops = disconnect_ops(client, None, Reason::InternalFailure)?;
                    cell.is_gone(client);
                    self.parts.messaging.apply(ops)?.wait().await?;
                    tracing::warn!(client.id = %client, "no lobby for a client in time");
                }
                Step::Open(count) => self.open_lobbies(cell, hall, full, count).await?,
                Step::Retire => {
                    if self.parts.deployments.retire(cell.id).await? {
                        tracing::info!(deployment.id = %cell.id, "a replaced deployment has drained and is gone");
                        return self.dissolve(cell, hall).await.map(|_| false);
                    }
                }
            }
        }
        for assigned in assigned.chunks(MOST_ASSIGNED) {
            self.assign(hall, full, assigned).await?;
        }
        Ok(true)
    }

    /// Each lobby in a row that broke makes the pause before the next one longer.
    fn count_failure(&self, hall: &mut Hall, lobby: LobbyId) {
        // One that was on its way out when the process ended has been counted by that process.
        if hall.lobbies.get(&lobby).is_some_and(|it| !it.closing) {
            hall.failures = hall.failures.saturating_add(1);
            hall.retry_at = self.parts.clock.ticks().plus(rules::pause_after(hall.failures));
        }
    }

    async fn open_lobbies(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        count: u32,
    ) -> Result<(), Problem> {
        let mut rows = Vec::new();
        let count = count.min(MOST_OPENED);
        for _ in 0..count {
            rows.push(LobbyRow {
                deployment_id: cell.id,
                id: self.parts.mint.child(cell.id)?,
                runtime_id: self.parts.mint.child(cell.id)?,
                closing: false,
                created: self.parts.clock.now(),
            });
        }
        let slots = [cell.id.slot()];
        // A failure or a crash from here on is mended by `load`: the rows may be there all the same.
        hall.loaded = false;
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::insert_lobbies(&mut tx, &rows).await
            })
            .await?;
        let made = self.parts.clock.ticks();
        for row in &rows {
            hall.lobbies.insert(row.id, Lobby::new(row.runtime_id, made, false));
        }
        cell.served(count);
        for row in &rows {
            self.open_mailbox(full, row.id, row.runtime_id).await?;
        }
        let runtimes: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        self.start_runtimes(full, &runtimes, RuntimeQualifier::Lobby).await?;
        hall.loaded = true;
        Ok(())
    }

    async fn open_mailbox(
        &self,
        full: &DeploymentFull,
        lobby: LobbyId,
        runtime: RuntimeId,
    ) -> Result<(), Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let (deployment, delivery) = (full.deployment.id, full.config.delivery);
        let init = bodies::init_lobby(lobby, &version)?;
        let commit = self.parts.messaging.apply(vec![
            Op::OpenRuntime { runtime, deployment, delivery },
            Op::Push { to: Mailbox::Runtime(runtime), qualifier: command::INIT_RUNTIME, body: init },
        ])?;
        commit.wait().await
    }

    pub(crate) async fn start_runtimes(
        &self,
        full: &DeploymentFull,
        runtimes: &[RuntimeId],
        qualifier: RuntimeQualifier,
    ) -> Result<(), Problem> {
        let image = image_for(&full.images, qualifier).ok_or_else(|| {
            Problem::internal(format!("deployment {} has no image for {qualifier:?}", full.deployment.id))
        })?;
        let (lobby, r#match) = (&full.config.lobby, &full.config.r#match);
        let (cpu_limit, memory_limit, ports) = match qualifier {
            RuntimeQualifier::Lobby => (lobby.cpu_limit, lobby.memory_limit, &lobby.ports),
            RuntimeQualifier::Match => (r#match.cpu_limit, r#match.memory_limit, &r#match.ports),
        };
        let it = &full.deployment;
        let label = |name: &str, value: String| (format!("omgservers.{name}"), value);
        let new = |id: &RuntimeId| NewRuntime {
            id: *id,
            tenant: it.tenant_id,
            deployment: it.id,
            qualifier,
            image: image.clone(),
            cpu_limit,
            memory_limit,
            ports: ports.clone(),
            labels: vec![
                label("project", full.project_id.to_string()),
                label("stage", it.stage_id.to_string()),
                label("version", it.version_id.to_string()),
            ],
        };
        self.parts.runtimes.create(&runtimes.iter().map(new).collect::<Vec<_>>()).await
    }

    async fn assign(
        &self,
        hall: &mut Hall,
        full: &DeploymentFull,
        assigned: &[(ClientId, LobbyId)],
    ) -> Result<(), Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let who: Vec<(ClientId, UserId, LobbyId)> = assigned
            .iter()
            .filter_map(|(client, lobby)| {
                self.parts.messaging.client(*client).map(|it| (*client, it.user, *lobby))
            })
            .collect();
        let users: Vec<UserId> = who.iter().map(|it| it.1).collect();
        let profiles = self.parts.players.profiles(full.deployment.stage_id, &users).await?;
        let mut announcements = HashMap::new();
        let mut ops = Vec::with_capacity(who.len() * 3);
        for (client, user, lobby) in who {
            let Some(entry) = hall.lobbies.get(&lobby) else { continue };
            let runtime = entry.runtime;
            let direct = self.direct(entry.published.as_deref(), runtime, client, user)?;
            let announced = match announcements.get(&lobby).filter(|_| direct.is_none()) {
                Some(body) => Body::clone(body),
                None => {
                    let body = bodies::lobby_assignment(runtime, lobby, &version, direct)?;
                    announcements.insert(lobby, body.clone());
                    body
                }
            };
            let profile = profiles.get(&user).map_or("{}", |it| it);
            let added = bodies::add_client(user, client, None, profile)?;
            ops.push(Op::Push { to: Mailbox::Runtime(runtime), qualifier: command::ADD_CLIENT, body: added });
            ops.push(Op::Route { client, to: Some(runtime) });
            let qualifier = message::RUNTIME_ASSIGNMENT;
            ops.push(Op::Push { to: Mailbox::Client(client), qualifier, body: announced });
        }
        self.parts.messaging.apply(ops)?.wait().await
    }

    /// Closes a lobby. `false` when there is none. Repeating it after a failure or a crash finishes it.
    pub(crate) async fn close_lobby(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        id: LobbyId,
        fate: Fate,
    ) -> Result<bool, Problem> {
        let Some(lobby) = hall.lobbies.get_mut(&id) else { return Ok(false) };
        let (db, ownership, slots) = (&self.parts.db, &self.parts.ownership, [cell.id.slot()]);
        // Whatever comes of the write: it may be there, so from here on the lobby is on its way out.
        lobby.closing = true;
        db.write_owned(ownership, &slots, async |mut tx| store::mark_closing(&mut tx, cell.id, id).await)
            .await?;
        let runtime = lobby.runtime;
        let clients = self.parts.messaging.clients_of(runtime);
        let mut ops = Vec::new();
        if fate == Fate::Disconnected {
            for client in &clients {
                ops.extend(disconnect_ops(*client, None, Reason::InternalFailure)?);
                cell.is_gone(*client);
            }
        }
        ops.push(Op::Close(Mailbox::Runtime(runtime)));
        ops.push(Op::Remove(Mailbox::Runtime(runtime)));
        self.parts.messaging.apply(ops)?.wait().await?;
        if fate == Fate::Moved {
            let since = self.parts.clock.ticks();
            for client in clients.into_iter().rev() {
                hall.waiting.push_front(Waiting { client, since });
            }
        }
        self.parts.runtimes.stop(&[runtime]).await?;
        db.write_owned(ownership, &slots, async |mut tx| store::delete_lobby(&mut tx, cell.id, id).await)
            .await?;
        hall.lobbies.remove(&id);
        Ok(true)
    }

    /// Ends everything of a deployment that is gone: its clients are told, its lobbies closed.
    async fn dissolve(&self, cell: &Cell, hall: &mut Hall) -> Result<usize, Problem> {
        let mut ops = Vec::new();
        for (client, info) in self.parts.messaging.clients_in(cell.id) {
            if !info.closed {
                ops.extend(disconnect_ops(client, info.route, Reason::InternalFailure)?);
            }
        }
        let mut done = ops.len();
        self.parts.messaging.apply(ops)?.wait().await?;
        done += self.dissolve_matches(cell, hall).await?;
        let rows = store::lobbies(&mut *self.parts.db.read().await?, cell.id).await?;
        for row in rows {
            let made = self.parts.clock.ticks();
            let lobby = Lobby::new(row.runtime_id, made, row.closing);
            hall.lobbies.entry(row.id).or_insert(lobby);
            self.close_lobby(cell, hall, row.id, Fate::Disconnected).await?;
            done += 1;
        }
        let slots = [cell.id.slot()];
        done += self
            .parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::delete_matchmakers(&mut tx, cell.id).await
            })
            .await?;
        self.halls.forget(cell.id);
        Ok(done)
    }
}
