//! A simulated Docker host: for tests, for the simulation, and to try the backend without Docker.
//!
//! Nothing happens by itself and nothing takes time: a test scripts all faults and all that
//! containers do.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use omgservers_api::{RuntimeId, TenantId};
use tokio::sync::{Notify, mpsc};

use super::{
    Attempt, Container, ContainerHost, ContainerSpec, ContainerStatus, Exit, HostConnector, HostError,
    HostEvent, ImageName, Inspection, PublishedPort, PullTokens, StartError,
};
use crate::Host;

/// What a host is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostCall {
    /// Pulling an image.
    Pull,
    /// Making a container.
    Create,
    /// Starting a container that was made.
    Start,
    /// Looking at a container.
    Inspect,
    /// Stopping and removing a container.
    Remove,
    /// Listing containers.
    List,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostFault {
    /// The host refuses, with this reason.
    Refuse(String),
    /// There is no answer until [`FakeHost::release`], and nothing is done before.
    Hang,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is done, and there is no answer until [`FakeHost::release`].
    HoldAnswer,
}

/// What becomes of the answer to a call that is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FakeAnswer {
    Given,
    Lost,
    Withheld,
}

/// A simulated container.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    /// What it was made of; the environment holds its runtime's id and password.
    pub spec: ContainerSpec,
    /// Where it stands.
    pub status: ContainerStatus,
    /// How it came to an end.
    pub exit: Option<Exit>,
    /// Where its ports are.
    pub ports: Vec<PublishedPort>,
}

/// A simulated Docker host. Clones are the same host.
#[derive(Clone)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
    released: Arc<Notify>,
}

#[derive(Default)]
struct State {
    unreachable: bool,
    images: BTreeSet<ImageName>,
    /// Ports are given away one after the other.
    last_port: u16,
    networks: BTreeSet<TenantId>,
    containers: BTreeMap<Attempt, FakeContainer>,
    next: BTreeMap<HostCall, VecDeque<HostFault>>,
    always: BTreeMap<HostCall, HostFault>,
    counts: BTreeMap<HostCall, usize>,
    listeners: Vec<mpsc::UnboundedSender<Result<HostEvent, HostError>>>,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A host that has nothing and does what it is asked.
    pub fn new() -> Self {
        Self { state: Arc::default(), released: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next call of this kind go wrong; further ones queue up.
    pub fn fail_next(&self, call: HostCall, fault: HostFault) {
        self.state().next.entry(call).or_default().push_back(fault);
    }

    /// Lets all calls of this kind go wrong, or none any more.
    pub fn fail_always(&self, call: HostCall, fault: Option<HostFault>) {
        let always = &mut self.state().always;
        match fault {
            Some(fault) => drop(always.insert(call, fault)),
            None => drop(always.remove(&call)),
        }
    }

    /// Lets the calls that hang go on.
    pub fn release(&self) {
        self.released.notify_waiters();
    }

    /// Ends all troubles: nothing goes wrong any more, nothing hangs, the host is reachable.
    pub fn heal(&self) {
        let mut state = self.state();
        state.unreachable = false;
        state.next.clear();
        state.always.clear();
        drop(state);
        self.release();
    }

    /// Cuts the network, or mends it. Containers don't notice.
    pub fn set_reachable(&self, reachable: bool) {
        let mut state = self.state();
        state.unreachable = !reachable;
        if !reachable {
            state.listeners.clear();
        }
    }

    /// Lets the container of a runtime come to an end by itself. `false` when none runs.
    pub fn exit(&self, runtime: RuntimeId, exit: Exit) -> bool {
        let mut state = self.state();
        let running = |container: &&mut FakeContainer| {
            container.spec.attempt.runtime == runtime && container.status == ContainerStatus::Running
        };
        let Some(container) = state.containers.values_mut().rfind(running) else { return false };
        container.status = ContainerStatus::Ended;
        container.exit = Some(exit);
        let attempt = container.spec.attempt;
        state.notify(attempt, ContainerStatus::Ended);
        true
    }

    /// Lets the kernel end the container of a runtime for lack of memory. `false` when none runs.
    pub fn run_out_of_memory(&self, runtime: RuntimeId) -> bool {
        self.exit(runtime, Exit { code: 137, out_of_memory: true, log_tail: String::new() })
    }

    /// Removes all containers of a runtime behind the backend's back. `false` when there is none.
    pub fn vanish(&self, runtime: RuntimeId) -> bool {
        let mut state = self.state();
        let gone: Vec<Attempt> =
            state.containers.keys().copied().filter(|it| it.runtime == runtime).collect();
        for attempt in &gone {
            state.containers.remove(attempt);
            state.notify(*attempt, ContainerStatus::Gone);
        }
        !gone.is_empty()
    }

    /// Puts a running container there that the backend didn't ask for.
    pub fn appear(&self, spec: ContainerSpec) {
        let mut state = self.state();
        let attempt = spec.attempt;
        let container = state.container(spec, ContainerStatus::Running);
        state.containers.insert(attempt, container);
        state.notify(attempt, ContainerStatus::Running);
    }

    /// Puts the ports of a runtime's containers elsewhere, as a daemon may that was restarted.
    pub fn move_ports(&self, runtime: RuntimeId) {
        let mut state = self.state();
        let theirs: Vec<ContainerSpec> = state
            .containers
            .values()
            .map(|it| it.spec.clone())
            .filter(|it| it.attempt.runtime == runtime)
            .collect();
        for spec in theirs {
            let ports = state.free_ports(&spec);
            if let Some(container) = state.containers.get_mut(&spec.attempt) {
                container.ports = ports;
            }
        }
    }

    /// All containers, by runtime and epoch.
    pub fn containers(&self) -> Vec<FakeContainer> {
        self.state().containers.values().cloned().collect()
    }

    /// The running containers of a runtime: one, unless something is wrong.
    pub fn running(&self, runtime: RuntimeId) -> Vec<FakeContainer> {
        let runs =
            |it: &&FakeContainer| it.spec.attempt.runtime == runtime && it.status == ContainerStatus::Running;
        self.state().containers.values().filter(runs).cloned().collect()
    }

    /// The environment of a runtime's running container.
    pub fn env(&self, runtime: RuntimeId) -> Option<BTreeMap<String, String>> {
        self.running(runtime).pop().map(|it| it.spec.env)
    }

    /// The images that are there.
    pub fn images(&self) -> Vec<ImageName> {
        self.state().images.iter().cloned().collect()
    }

    /// Forgets an image, as an operator does who clears the disk.
    pub fn forget_images(&self) {
        self.state().images.clear();
    }

    /// The tenants that have a network.
    pub fn networks(&self) -> Vec<TenantId> {
        self.state().networks.iter().copied().collect()
    }

    /// How often it was asked for this; an image that was there counts as no pull.
    pub fn count(&self, call: HostCall) -> usize {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    /// Whether it answers at all, and what goes wrong with this call. Says whether the answer is
    /// lost.
    async fn meet(&self, call: HostCall) -> Result<FakeAnswer, HostError> {
        let (released, fault) = {
            let mut state = self.state();
            if state.unreachable {
                return Err(cut());
            }
            let count = state.counts.entry(call).or_default();
            *count = count.saturating_add(1);
            let next = state.next.get_mut(&call).and_then(VecDeque::pop_front);
            (self.released.notified(), next.or_else(|| state.always.get(&call).cloned()))
        };
        match fault {
            None => Ok(FakeAnswer::Given),
            Some(HostFault::Refuse(reason)) => Err(HostError::Refused(reason)),
            Some(HostFault::LoseAnswer) => Ok(FakeAnswer::Lost),
            Some(HostFault::HoldAnswer) => Ok(FakeAnswer::Withheld),
            Some(HostFault::Hang) => {
                released.await;
                if self.state().unreachable { Err(cut()) } else { Ok(FakeAnswer::Given) }
            }
        }
    }

    async fn answer(&self, how: FakeAnswer) -> Result<(), HostError> {
        match how {
            FakeAnswer::Given => Ok(()),
            FakeAnswer::Lost => Err(HostError::Unreachable("the answer was lost".into())),
            FakeAnswer::Withheld => {
                self.released.notified().await;
                if self.state().unreachable { Err(cut()) } else { Ok(()) }
            }
        }
    }
}

impl State {
    fn container(&mut self, spec: ContainerSpec, status: ContainerStatus) -> FakeContainer {
        let ports = self.free_ports(&spec);
        FakeContainer { spec, status, exit: None, ports }
    }

    fn free_ports(&mut self, spec: &ContainerSpec) -> Vec<PublishedPort> {
        let mut ports = Vec::with_capacity(spec.ports.len());
        for port in &spec.ports {
            self.last_port = self.last_port.wrapping_add(1).max(FIRST_PORT);
            ports.push(PublishedPort { protocol: port.protocol, container: port.port, host: self.last_port });
        }
        ports
    }

    fn run(&mut self, attempt: Attempt) {
        if let Some(container) = self.containers.get_mut(&attempt)
            && container.status == ContainerStatus::Created
        {
            container.status = ContainerStatus::Running;
            self.notify(attempt, ContainerStatus::Running);
        }
    }

    fn forget(&mut self, attempt: Attempt) {
        if self.containers.remove(&attempt).is_some() {
            self.notify(attempt, ContainerStatus::Gone);
        }
    }

    fn notify(&mut self, attempt: Attempt, status: ContainerStatus) {
        self.listeners.retain(|it| it.send(Ok(HostEvent { attempt, status })).is_ok());
    }
}

/// The first port that a simulated host gives away.
const FIRST_PORT: u16 = 30_000;

fn cut() -> HostError {
    HostError::Unreachable("the network is cut".into())
}

#[async_trait::async_trait]
impl ContainerHost for FakeHost {
    async fn ping(&self) -> Result<(), HostError> {
        if self.state().unreachable { Err(cut()) } else { Ok(()) }
    }

    async fn list(&self) -> Result<Vec<Container>, HostError> {
        let lost = self.meet(HostCall::List).await?;
        let list = self
            .state()
            .containers
            .values()
            .map(|container| {
                let runs = container.status == ContainerStatus::Running;
                let ports = if runs { container.ports.clone() } else { Vec::new() };
                Container { attempt: container.spec.attempt, status: container.status, ports }
            })
            .collect();
        self.answer(lost).await.map(|()| list)
    }

    async fn ensure_image(&self, image: &ImageName, tokens: &dyn PullTokens) -> Result<(), HostError> {
        self.ping().await?;
        if self.state().images.contains(image) {
            return Ok(());
        }
        let lost = self.meet(HostCall::Pull).await?;
        tokens.token(&image.repository).await.map_err(|it| HostError::Refused(it.to_string()))?;
        self.state().images.insert(image.clone());
        self.answer(lost).await
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<Vec<PublishedPort>, StartError> {
        let unanswered = self.meet(HostCall::Create).await?;
        {
            let mut state = self.state();
            if !state.images.contains(&spec.image) {
                return Err(HostError::NoImage(spec.image.digest.clone()).into());
            }
            state.networks.insert(spec.tenant);
            let same = state.containers.get(&spec.attempt).is_some_and(|it| it.spec == *spec);
            if !same {
                let made = state.container(spec.clone(), ContainerStatus::Created);
                state.containers.insert(spec.attempt, made);
            }
        }
        self.answer(unanswered).await?;
        let lost = match self.meet(HostCall::Start).await {
            Ok(lost) => lost,
            Err(error) => {
                let may_have_run = !matches!(error, HostError::Refused(_));
                if !may_have_run {
                    self.state().containers.remove(&spec.attempt);
                }
                return Err(StartError { error, may_have_run });
            }
        };
        self.state().run(spec.attempt);
        self.answer(lost).await.map_err(|error| StartError { error, may_have_run: true })?;
        Ok(self.state().containers.get(&spec.attempt).map(|it| it.ports.clone()).unwrap_or_default())
    }

    async fn inspect(&self, attempt: Attempt) -> Result<Inspection, HostError> {
        let lost = self.meet(HostCall::Inspect).await?;
        let inspection = match self.state().containers.get(&attempt) {
            None => ContainerStatus::Gone.into(),
            Some(found) => match found.status {
                ContainerStatus::Created | ContainerStatus::Running => found.status.into(),
                ContainerStatus::Ended | ContainerStatus::Gone => {
                    Inspection::ended(found.exit.clone().unwrap_or_default())
                }
            },
        };
        self.answer(lost).await.map(|()| inspection)
    }

    async fn remove_unstarted(&self, attempt: Attempt) -> Result<bool, HostError> {
        let lost = self.meet(HostCall::Remove).await?;
        let removed = {
            let mut state = self.state();
            let made = state.containers.get(&attempt).is_some_and(|it| it.status == ContainerStatus::Created);
            if made {
                state.forget(attempt);
            }
            made
        };
        self.answer(lost).await.map(|()| removed)
    }

    async fn remove(&self, attempt: Attempt, _grace: Duration) -> Result<(), HostError> {
        let lost = self.meet(HostCall::Remove).await?;
        self.state().forget(attempt);
        self.answer(lost).await
    }

    async fn prune(&self) -> Result<(), HostError> {
        let mut state = self.state();
        let used: BTreeSet<TenantId> = state.containers.values().map(|it| it.spec.tenant).collect();
        state.networks.retain(|it| used.contains(it));
        Ok(())
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<HostEvent, HostError>>, HostError> {
        self.ping().await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().listeners.push(sender);
        Ok(stream::unfold(receiver, async |mut it| it.recv().await.map(|event| (event, it))).boxed())
    }
}

impl HostConnector for FakeHost {
    fn connect(&self, _host: &Host) -> Result<Arc<dyn ContainerHost>, HostError> {
        Ok(Arc::new(self.clone()))
    }
}

/// Simulated hosts by their URI.
#[derive(Clone, Default)]
pub struct FakeHosts(BTreeMap<String, FakeHost>);

impl FakeHosts {
    /// These hosts, by URI.
    pub fn new(hosts: impl IntoIterator<Item = (String, FakeHost)>) -> Self {
        Self(hosts.into_iter().collect())
    }
}

impl HostConnector for FakeHosts {
    fn connect(&self, host: &Host) -> Result<Arc<dyn ContainerHost>, HostError> {
        let found = self.0.get(&host.config.uri).cloned();
        let found =
            found.ok_or_else(|| HostError::Unreachable(format!("no simulated host {}", host.config.uri)))?;
        Ok(Arc::new(found))
    }
}
