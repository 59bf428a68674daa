//! What happens: one step after another, drawn from the seed.

use std::{sync::Arc, time::Duration};

use futures_util::future::OptionFuture;
use omgservers_api::{LobbyId, Problem, RuntimeId, ids::Id as _};
use omgservers_core::Clock as _;
use omgservers_runtimes::host::{
    Attempt, ContainerStatus, Exit,
    fake::{HostCall, HostFault},
};

use crate::{
    faults::{Trouble, any_fault, begin_only},
    rng::Rng,
    simulation::{CallMode, SYSTEM, Simulation, Verdict},
};

/// What a step is.
#[derive(Debug, Clone, Copy)]
enum Action {
    Play,
    Serve,
    Work,
    Together,
    Sweep,
    Round,
    Pass,
    Jump,
    StepWall,
    Develop,
    TroubleHost,
    TroubleContainer,
    Restart,
}

const ACTIONS: &[(usize, Action)] = &[
    (30, Action::Play),
    (26, Action::Serve),
    (18, Action::Work),
    (12, Action::Together),
    (2, Action::Sweep),
    (26, Action::Round),
    (8, Action::Pass),
    (1, Action::Jump),
    (1, Action::StepWall),
    (3, Action::Develop),
    (4, Action::TroubleHost),
    (3, Action::TroubleContainer),
    (4, Action::Restart),
];

impl Simulation {
    /// One step.
    pub(crate) async fn happen(&mut self, rng: &mut Rng) -> Verdict {
        let action = rng.weighted(ACTIONS);
        let call_mode = self.call_mode(rng, action);
        match action {
            Action::Play => self.play(rng, call_mode).await?,
            Action::Serve => self.serve(rng, call_mode).await?,
            Action::Work => self.work(rng, call_mode).await?,
            Action::Together => self.together(rng).await?,
            Action::Sweep => {
                let index = rng.below(self.backend().sweeps.len());
                let now = self.backend().clock.ticks();
                let done = self.backend_mut().sweeps[index].run(now).await;
                let name = self.backend().sweeps[index].name();
                self.note(format!("{name}: {:?}", done.map_err(|it| it.to_string())));
            }
            Action::Round => {
                self.note("a round");
                self.round(Some(rng), false).await?;
            }
            Action::Pass => self.pass(Duration::from_millis(100 << rng.below(7))),
            Action::Jump => {
                let seconds = *rng.pick(&[31, 45, 61, 100, 301]).unwrap();
                self.note(format!("{seconds} s pass"));
                self.pass(Duration::from_secs(seconds));
            }
            Action::StepWall => {
                let by = chrono::Duration::seconds(*rng.pick(&[-3600, -1, 3600]).unwrap());
                self.note(format!("wall time steps by {by}"));
                self.backend().clock.step_wall(by);
            }
            Action::Develop => self.develop(rng, call_mode).await,
            Action::TroubleHost => self.trouble_host(rng),
            Action::TroubleContainer => self.trouble_container(rng),
            Action::Restart => self.end_life(rng).await?,
        }
        self.script.disarm().await;
        self.check()?;
        self.check_tickets().await
    }

    /// Draws how the calls of a step are made, and what goes wrong in the database.
    fn call_mode(&mut self, rng: &mut Rng, action: Action) -> CallMode {
        let (after, fault) = (rng.below(4), any_fault(rng));
        // Which transaction is the first is known, of those under way together the others aren't.
        let after = if matches!(action, Action::Together) { 0 } else { after };
        let drawn = rng.weighted(&[
            (80, CallMode::Whole),
            (5, CallMode::Unanswered),
            (5, CallMode::Cancelled),
            (3, CallMode::Begun(0)),
            (2, CallMode::Begun(3)),
        ]);
        let call_mode = if matches!(action, Action::Round | Action::Restart | Action::Together) {
            CallMode::Whole
        } else {
            drawn
        };
        if call_mode == CallMode::Cancelled {
            self.script.arm(after, Trouble::Cancel);
        } else if rng.percent(12) {
            self.note(format!("the transaction after {after} fails: {fault:?}"));
            self.script.arm(after, Trouble::Once(fault));
        }
        if call_mode != CallMode::Whole {
            self.note(format!("{call_mode:?}"));
        }
        call_mode
    }

    async fn play(&mut self, rng: &mut Rng, call_mode: CallMode) -> Verdict {
        let index = rng.below(self.players.len());
        let session = self.players[index].session.as_mut();
        match session {
            Some(session) if !session.is_over() && !session.silent => {
                if rng.percent(3) {
                    session.silent = true;
                    let client = session.client;
                    self.note(format!("client {client} falls silent"));
                    return Ok(());
                }
                if rng.percent(5) {
                    return self.cancel_ticket(index, call_mode).await;
                }
                let fresh = rng.weighted(&[(3, 0), (4, 1), (2, 2), (1, 5)]);
                self.exchange(index, fresh, call_mode).await
            }
            _ => self.enter(index, call_mode).await,
        }
    }

    async fn serve(&mut self, rng: &mut Rng, call_mode: CallMode) -> Verdict {
        self.meet_servers();
        let living = self.living();
        let Some(attempt) = rng.pick(&living).copied() else { return Ok(()) };
        self.poll(attempt, Some(rng), call_mode).await
    }

    async fn work(&mut self, rng: &mut Rng, call_mode: CallMode) -> Verdict {
        let index = rng.below(self.backend().drivers.len());
        let script = self.script.clone();
        let now = self.backend().clock.ticks();
        let worker = &mut self.backend_mut().drivers[index];
        let name = worker.name();
        // A worker isn't cancelled while its process lives.
        let call_mode = if call_mode == CallMode::Unanswered { CallMode::Whole } else { call_mode };
        let done = Self::call(&script, call_mode, worker.run(now)).await;
        self.note(format!("{name}: {:?}", done.as_ref().map(|it| it.as_ref().map_err(ToString::to_string))));
        match done {
            Some(_) => Ok(()),
            None => {
                self.note("the backend is killed in the middle of it");
                self.kill().await
            }
        }
    }

    /// A worker, a player and a game server at the same time, and sometimes a developer.
    async fn together(&mut self, rng: &mut Rng) -> Verdict {
        self.meet_servers();
        let living = self.living();
        let attempt = rng.pick(&living).copied();
        let mut server = attempt.and_then(|it| self.take_server(it));
        let polling = server.as_mut().map(|it| self.polling(it, Some(&mut *rng)));
        let index = rng.below(self.players.len());
        let (fresh, at) = (1 + u64::try_from(rng.below(2)).unwrap(), rng.below(self.backend().drivers.len()));
        let active = self.players[index].session.as_ref().is_some_and(|it| !it.is_over() && !it.silent);
        let (mut entering, mut exchanging) = (None, None);
        let mut sent = Vec::new();
        if active {
            let (numbers, work) = self.exchanging(index, fresh);
            (sent, exchanging) = (numbers, Some(work));
        } else {
            entering = Some(self.entering(index));
        }
        let deleting = if rng.percent(20) { self.deleting_lobby(rng).await } else { None };
        let now = self.backend().clock.ticks();
        let mut worker = self.backend_mut().drivers.remove(at);
        let name = worker.name();
        self.note(format!(
            "together: {name}, player {index}, {attempt:?}, deletes a lobby: {}",
            deleting.is_some()
        ));
        let (polled, entered, answered, deleted, done) = tokio::join!(
            OptionFuture::from(polling),
            OptionFuture::from(entering),
            OptionFuture::from(exchanging),
            OptionFuture::from(deleting),
            worker.run(now),
        );
        self.backend_mut().drivers.insert(at, worker);
        self.note(format!("{name}: {:?}, lobby deleted: {deleted:?}", done.map_err(|it| it.to_string())));
        // What the backend answers before it lets a session end is not seen by a player whose
        // session has ended.
        if let Some(mut server) = server {
            let verdict = self.polled(&mut server, polled, false);
            self.servers.insert(server.attempt, server);
            verdict?;
        }
        if entered.is_some() {
            self.entered(index, entered)?;
        }
        if answered.is_some() {
            self.check()?;
            self.answered(index, &sent, &answered)?;
        }
        Ok(())
    }

    /// The call with which a developer deletes a lobby.
    async fn deleting_lobby(
        &mut self,
        rng: &mut Rng,
    ) -> Option<impl Future<Output = Result<bool, Problem>> + use<>> {
        let query = "select id, runtime_id from matchmaking.lobby order by id";
        let lobbies: Vec<(LobbyId, RuntimeId)> = self
            .sql
            .query(query, &[])
            .await
            .unwrap()
            .iter()
            .map(|it| (LobbyId::from_i64(it.get(0)).unwrap(), RuntimeId::from_i64(it.get(1)).unwrap()))
            .collect();
        let (lobby, runtime) = rng.pick(&lobbies).copied()?;
        self.doomed_runtimes.insert(runtime);
        self.note(format!("the lobby of {runtime} is to be deleted"));
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        Some(async move { matchmaking.delete_lobby(&SYSTEM, lobby).await })
    }

    /// The backend ends, in the middle of something perhaps, and starts again.
    async fn end_life(&mut self, rng: &mut Rng) -> Verdict {
        match rng.below(4) {
            0 => {
                self.note("the backend restarts in order");
                self.restart().await
            }
            1 => {
                self.note("the backend is killed");
                self.kill().await
            }
            2 => {
                let (index, after) = (rng.below(self.backend().drivers.len()), rng.below(5));
                let fault = any_fault(rng);
                self.script.arm(after, Trouble::AndAllAfter(fault));
                let now = self.backend().clock.ticks();
                let worker = &mut self.backend_mut().drivers[index];
                let name = worker.name();
                let _whatever = worker.run(now).await;
                self.note(format!("the backend is killed in {name}, {fault:?} after {after} transactions"));
                self.kill().await
            }
            _ => {
                let (index, turns) = (rng.below(self.backend().drivers.len()), rng.below(6));
                let now = self.backend().clock.ticks();
                let worker = &mut self.backend_mut().drivers[index];
                let name = worker.name();
                let _whatever = begin_only(worker.run(now), turns).await;
                self.note(format!("the backend is killed in {name} after {turns} turns"));
                self.kill().await
            }
        }
    }

    async fn develop(&mut self, rng: &mut Rng, call_mode: CallMode) {
        let script = self.script.clone();
        let newest = self.backend().deployments.newest(self.stage).await.ok().map(|it| it.deployment.id);
        match rng.weighted(&[(10, 0), (6, 1), (4, 2), (6, 3), (4, 4), (1, 5), (4, 6)]) {
            0 => {
                let version = rng.below(self.versions.len());
                let done = self.deploy(version, call_mode).await;
                self.note(format!(
                    "a version is deployed: {:?}",
                    done.map(|it| it.map_err(|it| it.to_string()))
                ));
            }
            1 => {
                let Some(work) = self.deleting_lobby(rng).await else { return };
                let done = Self::call(&script, call_mode, work).await;
                self.note(format!(
                    "a lobby is deleted: {:?}",
                    done.map(|it| it.map_err(|it| it.to_string()))
                ));
            }
            2 => {
                let Some(id) = newest else { return };
                self.doomed_deployments.insert(id);
                let work = self.backend().deployments.delete(&SYSTEM, self.tenant, id);
                let done = Self::call(&script, call_mode, work).await;
                self.note(format!(
                    "deployment {id} is deleted: {:?}",
                    done.map(|it| it.map_err(|it| it.to_string()))
                ));
                // Players want to go on.
                self.script.disarm().await;
                let _done = self.deploy(0, CallMode::Whole).await;
            }
            3 => {
                let Some(id) = newest else { return };
                let work = self.backend().matchmaking.request_lobby(&SYSTEM, self.tenant, id);
                let done = Self::call(&script, call_mode, work).await;
                self.note(format!(
                    "a lobby is requested: {:?}",
                    done.map(|it| it.map_err(|it| it.to_string()))
                ));
            }
            4 => {
                let Some(id) = newest else { return };
                let work = self.backend().matchmaking.request_matchmaker(&SYSTEM, self.tenant, id);
                let done = Self::call(&script, call_mode, work).await;
                self.note(format!(
                    "a matchmaker is requested: {:?}",
                    done.map(|it| it.map_err(|it| it.to_string()))
                ));
            }
            6 => {
                let Some(id) = newest else { return };
                self.delete_matchmaker(rng, id, call_mode).await;
            }
            _ => {
                self.doomed_stage = true;
                let (tenant, project) = (self.tenant, self.project);
                let backend = self.backend();
                let (of_stage, of_project, of_tenant) = (self.stage.into(), project.into(), tenant.into());
                let work = match rng.below(3) {
                    0 => backend.projects.delete_stage(&SYSTEM, tenant, project, &of_stage),
                    1 => backend.projects.delete(&SYSTEM, tenant, &of_project),
                    _ => backend.tenants.delete(&SYSTEM, &of_tenant),
                };
                let done = Self::call(&script, call_mode, work).await;
                let done = done.map(|it| it.map_err(|it| it.to_string()));
                self.note(format!("the stage is deleted, or what it is in: {done:?}"));
            }
        }
    }

    fn trouble_host(&mut self, rng: &mut Rng) {
        let index = rng.below(self.hosts.len());
        let host = self.hosts[index].clone();
        let calls = [
            HostCall::Pull,
            HostCall::Create,
            HostCall::Start,
            HostCall::Inspect,
            HostCall::Remove,
            HostCall::List,
        ];
        let call = *rng.pick(&calls).unwrap();
        let fault = match rng.below(4) {
            0 => HostFault::Refuse("no".into()),
            1 => HostFault::Hang,
            2 => HostFault::HoldAnswer,
            _ => HostFault::LoseAnswer,
        };
        match rng.below(10) {
            0 => host.set_reachable(false),
            1 => host.set_reachable(true),
            2 => host.fail_always(call, Some(fault.clone())),
            3 => host.fail_always(call, None),
            4 => host.release(),
            5 => host.heal(),
            6 => host.forget_images(),
            // Containers that run though their start seemed to fail, and can't be removed for a
            // while.
            7 => {
                host.fail_next(HostCall::Start, HostFault::LoseAnswer);
                host.fail_always(HostCall::Remove, Some(HostFault::Refuse("busy".into())));
            }
            _ => host.fail_next(call, fault.clone()),
        }
        self.note(format!("host {index} has trouble or loses it: {call:?} {fault:?}"));
    }

    fn trouble_container(&mut self, rng: &mut Rng) {
        self.meet_servers();
        let living = self.living();
        let Some(attempt) = rng.pick(&living).copied() else { return };
        let runtime = attempt.runtime;
        let what = rng.below(7);
        let host = self.hosts.iter().find(|it| has(it, attempt)).cloned();
        let Some(host) = host else { return };
        match what {
            0 => {
                let _ran =
                    host.exit(runtime, Exit { code: 1, out_of_memory: false, log_tail: "bad luck".into() });
            }
            1 => {
                let _ran = host.run_out_of_memory(runtime);
            }
            2 => {
                let _was = host.vanish(runtime);
            }
            3 | 4 => {
                let _ran =
                    host.exit(runtime, Exit { code: 0, out_of_memory: false, log_tail: "done".into() });
            }
            _ => {
                if let Some(server) = self.servers.get_mut(&attempt) {
                    server.hung = true;
                }
            }
        }
        let words = [
            "crashes",
            "is out of memory",
            "vanishes",
            "comes to its end",
            "comes to its end",
            "hangs",
            "hangs",
        ];
        self.note(format!("game server {attempt} {}", words[what]));
    }
}

fn has(host: &omgservers_runtimes::FakeHost, attempt: Attempt) -> bool {
    host.containers().iter().any(|it| it.spec.attempt == attempt && it.status == ContainerStatus::Running)
}
