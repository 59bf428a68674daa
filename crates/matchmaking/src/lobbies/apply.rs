//! Carries the steps of a lobby plan out.

use std::collections::HashMap;

use omgservers_api::{
    ClientId, LobbyId, Problem, RuntimeId, RuntimeQualifier, UserId,
    ids::Id as _,
    interchange::{Reason, command, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{Body, Mailbox, Op};

use super::{
    rules::LobbyStep,
    state::{Lobby, WaitingClient},
};
use crate::{
    PgMatchmaking, bodies,
    commits::apply_groups,
    effects::disconnect_ops,
    state::{DeploymentHandle, DeploymentState},
    store::{self, LobbyRow},
};

/// Lobbies that are opened in one transaction; the next plan opens the rest.
const MOST_OPENED: u32 = 100;
/// Clients that are assigned in one commit.
const MOST_ASSIGNED: usize = 500;

/// What happens to the clients of a lobby that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnClose {
    /// They wait for the next lobby, in front of the others.
    Requeue,
    /// They are disconnected with INTERNAL_FAILURE.
    Disconnect,
}

/// What became of [`LobbyStep::Retire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retirement {
    /// The deployment is still needed.
    NotPlanned,
    /// It is the newest again, or its deploy or its deletion is under way.
    Refused,
    /// The deployment is gone.
    Retired,
}

impl PgMatchmaking {
    /// Carries steps out.
    pub(super) async fn apply_steps(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        steps: Vec<LobbyStep>,
    ) -> Result<Retirement, Problem> {
        let mut retirement = Retirement::NotPlanned;
        let mut assigned = Vec::new();
        for step in steps {
            match step {
                LobbyStep::Assign { client, lobby } => assigned.push((client, lobby)),
                LobbyStep::Discard(lobby) => {
                    // A lobby that was on its way out before this process has been counted.
                    if state.lobbies.all.get(&lobby).is_some_and(|it| !it.closing) {
                        state.lobbies.failures.add(self.parts.clock.ticks());
                    }
                    self.close_lobby(handle, state, lobby, OnClose::Requeue).await?;
                }
                LobbyStep::Close(lobby) => {
                    self.close_lobby(handle, state, lobby, OnClose::Requeue).await?;
                }
                LobbyStep::GiveUp(client) => {
                    let ops = disconnect_ops(client, None, Reason::InternalFailure)?;
                    handle.is_gone(client);
                    self.parts.messaging.apply(ops)?.wait().await?;
                    tracing::warn!(client.id = %client, "no lobby for a client in time");
                }
                LobbyStep::Open(count) => self.open_lobbies(handle, state, full, count).await?,
                LobbyStep::Retire => {
                    if self.parts.deployments.retire(handle.id).await? {
                        tracing::info!(deployment.id = %handle.id, "a replaced deployment has drained and is gone");
                        return Ok(Retirement::Retired);
                    }
                    retirement = Retirement::Refused;
                }
            }
        }
        for assigned in assigned.chunks(MOST_ASSIGNED) {
            self.assign(state, full, assigned).await?;
        }
        Ok(retirement)
    }

    async fn open_lobbies(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        count: u32,
    ) -> Result<(), Problem> {
        let mut rows = Vec::new();
        let count = count.min(MOST_OPENED);
        for _ in 0..count {
            rows.push(LobbyRow {
                deployment_id: handle.id,
                id: self.parts.mint.child(handle.id)?,
                runtime_id: self.parts.mint.child(handle.id)?,
                closing: false,
                created: self.parts.clock.now(),
            });
        }
        let slots = [handle.id.slot()];
        // A failure or a crash from here on is mended by `load_lobbies`: the rows may be there.
        state.lobbies.loaded = false;
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::insert_lobbies(&mut tx, &rows).await
            })
            .await?;
        let made = self.parts.clock.ticks();
        for row in &rows {
            state.lobbies.all.insert(row.id, Lobby::new(row.runtime_id, made, false));
        }
        handle.served(count);
        for row in &rows {
            self.open_mailbox(full, row.id, row.runtime_id).await?;
        }
        let runtimes: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        self.start_runtimes(full, &runtimes, RuntimeQualifier::Lobby).await?;
        state.lobbies.loaded = true;
        Ok(())
    }

    pub(super) async fn open_mailbox(
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

    async fn assign(
        &self,
        state: &mut DeploymentState,
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
        let mut groups = Vec::with_capacity(who.len());
        for (client, user, lobby) in who {
            let Some(entry) = state.lobbies.all.get(&lobby) else { continue };
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
            let qualifier = message::RUNTIME_ASSIGNMENT;
            groups.push(vec![
                Op::Push { to: Mailbox::Runtime(runtime), qualifier: command::ADD_CLIENT, body: added },
                Op::Route { client, to: Some(runtime) },
                Op::Push { to: Mailbox::Client(client), qualifier, body: announced },
            ]);
        }
        apply_groups(&*self.parts.messaging, groups)?.wait().await
    }

    /// Closes a lobby; `false` when there is none. Repeating it after a failure or a crash finishes
    /// it.
    pub(crate) async fn close_lobby(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        id: LobbyId,
        on_close: OnClose,
    ) -> Result<bool, Problem> {
        let Some(lobby) = state.lobbies.all.get_mut(&id) else { return Ok(false) };
        let (db, ownership, slots) = (&self.parts.db, &self.parts.ownership, [handle.id.slot()]);
        // Also when the write fails, its row may be there: from here on the lobby is on its way
        // out.
        lobby.closing = true;
        db.write_owned(ownership, &slots, async |mut tx| store::mark_closing(&mut tx, handle.id, id).await)
            .await?;
        let runtime = lobby.runtime;
        let clients = self.parts.messaging.clients_of(runtime);
        let mut ops = Vec::new();
        if on_close == OnClose::Disconnect {
            for client in &clients {
                ops.extend(disconnect_ops(*client, None, Reason::InternalFailure)?);
                handle.is_gone(*client);
            }
        }
        ops.push(Op::Close(Mailbox::Runtime(runtime)));
        ops.push(Op::Remove(Mailbox::Runtime(runtime)));
        self.parts.messaging.apply(ops)?.wait().await?;
        if on_close == OnClose::Requeue {
            let since = self.parts.clock.ticks();
            for client in clients.into_iter().rev() {
                state.lobbies.waiting.push_front(WaitingClient { client, since });
            }
        }
        self.parts.runtimes.stop(&[runtime]).await?;
        db.write_owned(ownership, &slots, async |mut tx| store::delete_lobby(&mut tx, handle.id, id).await)
            .await?;
        state.lobbies.all.remove(&id);
        Ok(true)
    }
}
