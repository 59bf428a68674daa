//! What the rules ask for: steps on hosts are begun, facts are recorded.

use std::collections::BTreeMap;

use omgservers_api::{HostId, RuntimeId};
use omgservers_core::Ticks;

use super::{
    ops::{Done, Job},
    reconcile::{Entry, Reconcile},
};
use crate::{
    host::{Attempt, ContainerSpec, ImageName, StartError},
    inner::Inner,
    rules::{self, Desired, Health, Step, View},
    scheduler::{self, Need, Room},
    store::{self, Row},
};

/// How long a start may go on when the runtime should stop meanwhile.
const STOP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// How long a look may take.
const LOOK_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

impl Reconcile {
    /// Takes the next step of every runtime, except for beginning attempts.
    pub(super) async fn follow(&mut self, now: Ticks) {
        let busy = self.ops.busy();
        let (mut steps, mut hurry) = (Vec::new(), Vec::new());
        for entry in self.entries.values() {
            let attempt = entry.attempt();
            if busy.contains(&attempt) {
                if entry.row.desired() == Desired::Stop {
                    hurry.push(attempt);
                }
                continue;
            }
            match self.next_step(entry, now) {
                Step::Rest | Step::Wait(_) | Step::Place => {}
                step => steps.push((entry.row.id, attempt, entry.row.host_id, step)),
            }
        }
        self.follow_ports(now).await;
        for attempt in hurry {
            self.ops.hurry_start(attempt, STOP_PATIENCE);
        }
        for (id, attempt, host, step) in steps {
            match (step, host) {
                (Step::Rest | Step::Wait(_) | Step::Place, _) => {}
                (Step::Look, Some(host)) => self.look(host, attempt, now),
                (Step::Discard, Some(host)) => self.discard(host, attempt, now),
                (Step::Remove, Some(host)) => self.remove(host, attempt, now),
                (Step::Look | Step::Discard | Step::Remove | Step::Adopt, None) => {}
                (Step::Adopt, Some(host)) => self.adopt(id, host, attempt, now).await,
                (Step::Fail(reason), _) => {
                    let failure = self.failure(reason.into(), None);
                    self.fail(id, failure, now).await;
                }
                (Step::Delete, _) => self.delete(id, now).await,
            }
        }
    }

    fn next_step(&self, entry: &Entry, now: Ticks) -> Step {
        let view = match entry.row.host_id {
            Some(host) => {
                let health = self.health(host, now);
                let unknown = View { health, status: None };
                self.seats.get(&host).map_or(unknown, |it| it.view(entry.attempt(), health))
            }
            None => View { health: Health::Unknown, status: None },
        };
        rules::next(entry.life(), view, now)
    }

    /// Whether one more look or removal may begin on this host, for this container.
    fn may_touch(&self, host: HostId, attempt: Attempt, now: Ticks) -> bool {
        self.seats
            .get(&host)
            .is_some_and(|it| !it.is_quiet(attempt, now) && self.ops.load(host).1 < it.bounds().1)
    }

    fn look(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        if let Some(Ok(client)) =
            self.seats.get(&host).map(|it| it.link.client(self.inner.connector.as_ref()))
        {
            self.ops.begin(Job::Look(host, attempt), now, LOOK_LIMIT, async move {
                client.look(attempt).await.map(Done::Looked)
            });
        }
    }

    fn discard(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        if let Some(Ok(client)) =
            self.seats.get(&host).map(|it| it.link.client(self.inner.connector.as_ref()))
        {
            self.ops.begin(Job::Discard(host, attempt), now, self.inner.config.start_timeout, async move {
                client.discard(attempt).await.map(Done::Discarded)
            });
        }
    }

    fn remove(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        let grace = self.inner.config.stop_grace;
        if let Some(Ok(client)) =
            self.seats.get(&host).map(|it| it.link.client(self.inner.connector.as_ref()))
        {
            let limit = self.inner.config.start_timeout.saturating_add(grace);
            self.ops.begin(Job::Remove(host, attempt), now, limit, async move {
                client.remove(attempt, grace).await.map(|()| Done::Removed)
            });
        }
    }

    /// Begins the attempts of runtimes that wait, as far as there is room: matches first, then the older.
    pub(super) async fn start_waiting(&mut self, now: Ticks) {
        let busy = self.ops.busy();
        let mut queue: Vec<_> = self
            .entries
            .values()
            .filter(|it| !busy.contains(&it.attempt()) && self.next_step(it, now) == Step::Place)
            .map(|it| scheduler::turn(it.row.qualifier, it.row.created, it.row.id))
            .collect();
        if queue.is_empty() {
            return;
        }
        queue.sort_unstable();
        let mut rooms = self.rooms(now);
        for (_, _, id) in queue {
            let Some(entry) = self.entries.get(&id) else { continue };
            let (need, not_before) = (entry.need(), entry.not_before);
            let image =
                ImageName { repository: entry.row.repository.clone(), digest: entry.row.digest.clone() };
            let kept = entry.reserved.filter(|host| rooms.iter().any(|it| it.host == *host && it.open));
            let host = kept.or_else(|| {
                let host = scheduler::place(&rooms, need, self.inner.config.strategy)?;
                rooms.iter_mut().filter(|it| it.host == host).for_each(|it| it.take(need));
                Some(host)
            });
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.reserved = host;
            }
            match host {
                Some(host) => self.bring_up(id, host, image, now).await,
                None if now >= not_before => self.no_room(id, need, &rooms, now).await,
                None => {}
            }
        }
    }

    /// The hosts and what is taken of them.
    fn rooms(&self, now: Ticks) -> Vec<Room> {
        let mut rooms: BTreeMap<HostId, Room> =
            self.seats.iter().map(|(id, it)| (*id, it.room(self.health(*id, now)))).collect();
        for entry in self.entries.values() {
            let host = entry.row.host_id.or(entry.reserved);
            if let Some(room) = host.and_then(|it| rooms.get_mut(&it)) {
                room.take(entry.need());
            }
        }
        rooms.into_values().collect()
    }

    /// The next step towards a container of `id` on `host`: its image, or its start.
    async fn bring_up(&mut self, id: RuntimeId, host: HostId, image: ImageName, now: Ticks) {
        let Some(seat) = self.seats.get(&host) else { return };
        let Ok(client) = seat.link.client(self.inner.connector.as_ref()) else { return };
        if !seat.images.contains(&image) {
            let job = Job::Pull(host, image.clone());
            if !self.ops.is_under_way(&job) {
                let inner = std::sync::Arc::clone(&self.inner);
                self.ops.begin(job, now, self.inner.config.pull_timeout, async move {
                    client.ensure_image(&image, inner.pull_tokens.as_ref()).await.map(|()| Done::Pulled)
                });
            }
            return;
        }
        if self.ops.load(host).0 >= seat.bounds().0 {
            return;
        }
        let password = self.inner.secrets.generate();
        let Some(row) = self.begin(id, host, &password, now).await else { return };
        let spec = spec(&row, image, password, &self.inner);
        let attempt = spec.attempt;
        self.ops.begin(Job::Start(host, attempt), now, self.inner.config.start_timeout, async move {
            match client.start(&spec).await {
                Ok(ports) => Ok(Done::Started(ports)),
                Err(StartError { error, may_have_run: false }) => Ok(Done::NotStarted(error)),
                Err(StartError { error, may_have_run: true }) => Err(error),
            }
        });
    }

    async fn no_room(&mut self, id: RuntimeId, need: Need, rooms: &[Room], now: Ticks) {
        // Before the hosts have told what they have, nothing can be said.
        let untold = |(host, seat): (&HostId, &super::seat::Seat)| {
            self.health(*host, now) == Health::Unknown && !seat.pulse.is_missing()
        };
        if self.seats.iter().any(untold) {
            return;
        }
        let open = rooms.iter().filter(|it| it.open).count();
        let reason = format!(
            "no Docker host has room for CPU {} (100 = one core) and {} MiB; {open} of {} hosts take containers now",
            need.cpu,
            need.memory,
            rooms.len()
        );
        let failure = self.failure(reason, None);
        self.fail_attempt(id, failure, true, now).await;
    }

    /// Removes containers that are no present attempt of any runtime.
    pub(super) async fn sweep_strays(&mut self, now: Ticks) {
        let busy = self.ops.busy();
        let mut strays: Vec<(HostId, Attempt)> = Vec::new();
        for (host, seat) in &self.seats {
            if self.health(*host, now) != Health::Up {
                continue;
            }
            let unknown = |it: &Attempt| !busy.contains(it) && !self.belongs(*host, *it);
            strays.extend(seat.containers().map(|it| it.0).filter(unknown).map(|it| (*host, it)));
        }
        strays.sort_unstable();
        for (host, attempt) in strays {
            if !self.may_touch(host, attempt, now) {
                continue;
            }
            match self.read_fenced(attempt.runtime).await {
                Ok(row) => {
                    match row {
                        Some(row) => self.put(row, now),
                        None => drop(self.entries.remove(&attempt.runtime)),
                    }
                    if !self.belongs(host, attempt) {
                        tracing::info!(runtime.id = %attempt.runtime, epoch = attempt.epoch, "removing a stray container");
                        self.changed = self.changed.saturating_add(1);
                        self.remove(host, attempt, now);
                    }
                }
                Err(problem) => {
                    if let Some(seat) = self.seats.get_mut(&host) {
                        seat.step_failed(attempt, now);
                    }
                    self.trouble.get_or_insert(problem);
                }
            }
        }
    }

    fn belongs(&self, host: HostId, attempt: Attempt) -> bool {
        self.entries
            .get(&attempt.runtime)
            .is_some_and(|it| it.attempt() == attempt && it.row.host_id == Some(host))
    }
}

fn spec(row: &Row, image: ImageName, password: String, inner: &Inner) -> ContainerSpec {
    let mut env = vec![
        ("OMGSERVERS_RUNTIME_ID", row.id.to_string()),
        ("OMGSERVERS_PASSWORD", password),
        ("OMGSERVERS_RUNTIME_QUALIFIER", row.qualifier.to_string()),
        ("OMGSERVERS_SERVICE_URL", inner.config.service_url.clone()),
    ];
    if row.has_ports() {
        env.push(("OMGSERVERS_CONNECT_KEY", inner.connect_key.pem.clone()));
    }
    ContainerSpec {
        attempt: Attempt { runtime: row.id, epoch: row.epoch() },
        tenant: row.tenant_id,
        deployment: row.deployment_id,
        qualifier: row.qualifier,
        image,
        cpu: store::unsigned(row.cpu),
        memory: store::unsigned(row.memory),
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ports: row.ports(),
        labels: serde_json::from_value(row.labels.clone()).unwrap_or_default(),
    }
}
