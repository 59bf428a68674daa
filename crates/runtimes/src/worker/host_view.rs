//! What the reconciler knows of a host. In memory only: all of it comes back with the next list.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use omgservers_core::Ticks;

use crate::{
    host::{Attempt, Container, ImageName, PublishedPort, Status},
    rules::{Health, Pulse, RETRY, View},
    scheduler::{Capacity, starts_at_once},
    shared::HostClient,
};

/// Each host is listed this often, whatever the events say.
const LIST_PERIOD: Duration = Duration::from_secs(5);

pub(crate) struct HostView {
    pub(crate) host_client: Arc<HostClient>,
    pub(crate) pulse: Pulse,
    /// When to list next.
    pub(crate) list_at: Ticks,
    /// Images that are known to be there.
    pub(crate) images: HashSet<ImageName>,
    /// What it has, once it told.
    containers: Option<HashMap<Attempt, Status>>,
    /// Where the ports of its containers are, as far as it told.
    ports: HashMap<Attempt, Vec<PublishedPort>>,
    /// What was heard since the list that is under way began: it may be newer than the list.
    hints: HashMap<Attempt, Status>,
    /// Containers that a step failed on: how often, and when to try again.
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

    pub(crate) fn health(&self, now: Ticks, lost_after: Duration) -> Health {
        self.pulse.health(now, lost_after)
    }

    pub(crate) fn view(&self, attempt: Attempt, health: Health) -> View {
        let of = |it: &HashMap<Attempt, Status>| it.get(&attempt).copied().unwrap_or(Status::Gone);
        View { health, status: self.containers.as_ref().map(of) }
    }

    /// All that is there.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (Attempt, Status)> {
        self.containers.iter().flatten().map(|it| (*it.0, *it.1)).filter(|it| it.1 != Status::Gone)
    }

    pub(crate) fn list_begins(&mut self, now: Ticks) {
        self.list_at = now.plus(LIST_PERIOD);
        self.hints.clear();
    }

    pub(crate) fn listed(&mut self, list: Vec<Container>) {
        let mut containers: HashMap<Attempt, Status> =
            list.iter().map(|it| (it.attempt, it.status)).collect();
        let told = list.into_iter().filter(|it| !it.ports.is_empty()).map(|it| (it.attempt, it.ports));
        self.ports.extend(told);
        containers.extend(self.hints.drain());
        self.backing_off.retain(|attempt, _| containers.contains_key(attempt));
        self.ports.retain(|attempt, _| containers.contains_key(attempt));
        self.containers = Some(containers);
    }

    /// Where the ports of a container are; empty as long as that isn't known.
    pub(crate) fn ports(&self, attempt: Attempt) -> &[PublishedPort] {
        self.ports.get(&attempt).map_or(&[], |it| it)
    }

    /// Takes something for true, until the next list.
    pub(crate) fn note(&mut self, attempt: Attempt, status: Status) {
        self.hints.insert(attempt, status);
        if let Some(containers) = &mut self.containers {
            containers.insert(attempt, status);
        }
    }

    /// It was started; it may have ended meanwhile, and that was heard before.
    pub(crate) fn note_started(&mut self, attempt: Attempt, ports: Vec<PublishedPort>) {
        if !ports.is_empty() {
            self.ports.insert(attempt, ports);
        }
        if self.containers.as_ref().is_none_or(|it| !it.contains_key(&attempt)) {
            self.note(attempt, Status::Running);
        }
    }

    pub(crate) fn knows(&self, attempt: Attempt) -> bool {
        self.containers.as_ref().is_some_and(|it| it.contains_key(&attempt))
    }

    /// Forgets what it has, for it was silent for too long.
    pub(crate) fn forget(&mut self) {
        self.containers = None;
        self.ports.clear();
        self.images.clear();
    }

    /// A step with a container failed: no other one for a while.
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

    /// When the first container may be tried again.
    pub(crate) fn next_try(&self, now: Ticks) -> Option<Ticks> {
        self.backing_off.values().map(|it| it.1).filter(|it| *it > now).min()
    }

    /// Its room, nothing taken.
    pub(crate) fn capacity(&self, health: Health) -> Capacity {
        let host = &self.host_client.host;
        Capacity {
            host: host.id,
            open: health == Health::Up && self.containers.is_some() && host.config.state.is_open(),
            cpu: host.config.cpu,
            memory: host.config.memory,
            max_containers: host.config.max_containers,
            used_cpu: 0,
            used_memory: 0,
            containers: 0,
        }
    }

    /// The most starts, and the most other steps with containers, at once.
    pub(crate) fn bounds(&self) -> (usize, usize) {
        let starts = starts_at_once(self.host_client.host.config.cpu);
        (starts, starts.saturating_mul(2).max(8))
    }
}
