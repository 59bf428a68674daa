//! The observed state of a host, in memory only: the next list restores all of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_core::Ticks;

use crate::{
    host::{Attempt, Container, ContainerStatus, ImageName, PublishedPort},
    rules::{HostHealth, Pulse, RETRY, View},
    scheduler::{Capacity, starts_at_once},
    shared::HostClient,
};

/// Each host is listed this often, with or without events.
const LIST_PERIOD: Duration = Duration::from_secs(5);

pub(crate) struct HostView {
    pub(crate) host_client: Arc<HostClient>,
    pub(crate) pulse: Pulse,
    /// When to list next.
    pub(crate) list_at: Ticks,
    /// Images that are known to be there.
    pub(crate) images: HashSet<ImageName>,
    /// Its containers, once it has listed them.
    containers: Option<HashMap<Attempt, ContainerStatus>>,
    /// The published ports of its containers, as far as it has reported them.
    ports: HashMap<Attempt, Vec<PublishedPort>>,
    /// Events since the list under way began. They may be newer than the list.
    hints: HashMap<Attempt, ContainerStatus>,
    /// Containers with a failed operation: how often it failed, and when to retry.
    backing_off: HashMap<Attempt, (u32, Ticks)>,
}

impl HostView {
    pub(crate) fn new(host_client: Arc<HostClient>, now: Ticks) -> Self {
        Self {
            host_client,
            pulse: Pulse::new(now),
            list_at: now,
            images: HashSet::new(),
            containers: None,
            ports: HashMap::new(),
            hints: HashMap::new(),
            backing_off: HashMap::new(),
        }
    }

    pub(crate) fn health(&self, now: Ticks, lost_after: Duration) -> HostHealth {
        self.pulse.health(now, lost_after)
    }

    pub(crate) fn view(&self, attempt: Attempt, health: HostHealth) -> View {
        let of = |statuses: &HashMap<Attempt, ContainerStatus>| {
            statuses.get(&attempt).copied().unwrap_or(ContainerStatus::Gone)
        };
        View { health, status: self.containers.as_ref().map(of) }
    }

    /// All that is there.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (Attempt, ContainerStatus)> {
        self.containers.iter().flatten().map(|it| (*it.0, *it.1)).filter(|it| it.1 != ContainerStatus::Gone)
    }

    pub(crate) fn list_begins(&mut self, now: Ticks) {
        self.list_at = now.plus(LIST_PERIOD);
        self.hints.clear();
    }

    pub(crate) fn listed(&mut self, list: Vec<Container>) {
        let mut containers: HashMap<Attempt, ContainerStatus> =
            list.iter().map(|it| (it.attempt, it.status)).collect();
        let reported = list.into_iter().filter(|it| !it.ports.is_empty()).map(|it| (it.attempt, it.ports));
        self.ports.extend(reported);
        containers.extend(self.hints.drain());
        self.backing_off.retain(|attempt, _| containers.contains_key(attempt));
        self.ports.retain(|attempt, _| containers.contains_key(attempt));
        self.containers = Some(containers);
    }

    /// Returns the published ports of a container; empty until the host has reported them.
    pub(crate) fn ports(&self, attempt: Attempt) -> &[PublishedPort] {
        self.ports.get(&attempt).map_or(&[], |it| it)
    }

    /// Assumes a state until the next list.
    pub(crate) fn note(&mut self, attempt: Attempt, status: ContainerStatus) {
        self.hints.insert(attempt, status);
        if let Some(containers) = &mut self.containers {
            containers.insert(attempt, status);
        }
    }

    /// Records a start, unless an event has already reported the container's end.
    pub(crate) fn note_started(&mut self, attempt: Attempt, ports: Vec<PublishedPort>) {
        if !ports.is_empty() {
            self.ports.insert(attempt, ports);
        }
        if self.containers.as_ref().is_none_or(|it| !it.contains_key(&attempt)) {
            self.note(attempt, ContainerStatus::Running);
        }
    }

    pub(crate) fn knows(&self, attempt: Attempt) -> bool {
        self.containers.as_ref().is_some_and(|it| it.contains_key(&attempt))
    }

    /// Drops what it has, because it has not answered for too long.
    pub(crate) fn forget(&mut self) {
        self.containers = None;
        self.ports.clear();
        self.images.clear();
    }

    /// Records a failed operation with a container: the next one waits for a pause.
    pub(crate) fn step_failed(&mut self, attempt: Attempt, now: Ticks) {
        let (times, until) = self.backing_off.entry(attempt).or_insert((0, now));
        *times = times.saturating_add(1);
        *until = now.plus(RETRY.after(*times));
    }

    pub(crate) fn step_done(&mut self, attempt: Attempt) {
        self.backing_off.remove(&attempt);
    }

    pub(crate) fn is_backing_off(&self, attempt: Attempt, now: Ticks) -> bool {
        self.backing_off.get(&attempt).is_some_and(|it| now < it.1)
    }

    /// Returns when the first container may be retried.
    pub(crate) fn next_try(&self, now: Ticks) -> Option<Ticks> {
        self.backing_off.values().map(|it| it.1).filter(|it| *it > now).min()
    }

    /// Its capacity, with nothing reserved.
    pub(crate) fn capacity(&self, health: HostHealth) -> Capacity {
        let host = &self.host_client.host;
        Capacity {
            host: host.id,
            open: health == HostHealth::Up && self.containers.is_some() && host.config.state.is_open(),
            cpu: host.config.cpu,
            memory: host.config.memory,
            max_containers: host.config.max_containers,
            used_cpu: 0,
            used_memory: 0,
            containers: 0,
        }
    }

    /// The most starts, and the most other operations with containers, at once.
    pub(crate) fn bounds(&self) -> (usize, usize) {
        let starts = starts_at_once(self.host_client.host.config.cpu);
        (starts, starts.saturating_mul(2).max(8))
    }
}
