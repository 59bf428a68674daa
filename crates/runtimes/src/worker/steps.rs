//! Carries out the steps of the rules: begins operations on hosts, and records facts.

use std::collections::BTreeMap;

use omgservers_api::{HostId, RuntimeId};
use omgservers_core::{Ticks, context};

use super::{
    host_tasks::HostOp,
    reconcile::{Reconcile, ReconciledRuntime},
};
use crate::{
    host::{Attempt, ContainerSpec, ImageName, TRACE_PARENT},
    rules::{self, Desired, HostHealth, RuntimeStep, View},
    scheduler::{self, Capacity, Need},
    shared::Shared,
    store::{self, Row},
};

/// How long a start may go on when the runtime should stop meanwhile.
const STOPPED_START_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
/// How long an inspection may take.
const INSPECT_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

impl Reconcile {
    /// Takes the next step of every runtime, except for beginning attempts.
    pub(super) async fn follow(&mut self, now: Ticks) {
        let busy = self.tasks.busy();
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
                RuntimeStep::Rest | RuntimeStep::Wait(_) | RuntimeStep::Begin => {}
                step => steps.push((entry.row.id, attempt, entry.row.host_id, step)),
            }
        }
        self.follow_ports(now).await;
        for attempt in hurry {
            self.tasks.hurry_start(attempt, STOPPED_START_LIMIT);
        }
        for (id, attempt, host, step) in steps {
            match (step, host) {
                (RuntimeStep::Rest | RuntimeStep::Wait(_) | RuntimeStep::Begin, _) => {}
                (RuntimeStep::Inspect, Some(host)) => self.inspect(host, attempt, now),
                (RuntimeStep::RemoveUnstarted, Some(host)) => self.remove_unstarted(host, attempt, now),
                (RuntimeStep::Remove, Some(host)) => self.remove(host, attempt, now),
                (
                    RuntimeStep::Inspect
                    | RuntimeStep::RemoveUnstarted
                    | RuntimeStep::Remove
                    | RuntimeStep::Adopt,
                    None,
                ) => {}
                (RuntimeStep::Adopt, Some(host)) => self.adopt(id, host, attempt, now).await,
                (RuntimeStep::Fail(reason), _) => {
                    let failure = self.failure(reason.into(), None);
                    self.fail(id, failure, now).await;
                }
                (RuntimeStep::Delete, _) => self.delete(id, now).await,
            }
        }
    }

    fn next_step(&self, entry: &ReconciledRuntime, now: Ticks) -> RuntimeStep {
        let view = match entry.row.host_id {
            Some(host) => {
                let health = self.health(host, now);
                let unknown = View { health, status: None };
                self.views.get(&host).map_or(unknown, |it| it.view(entry.attempt(), health))
            }
            None => View { health: HostHealth::Unknown, status: None },
        };
        rules::next(entry.life(), view, now)
    }

    /// Whether one more inspection or removal may begin on this host, for this container.
    fn may_touch(&self, host: HostId, attempt: Attempt, now: Ticks) -> bool {
        self.views
            .get(&host)
            .is_some_and(|it| !it.is_backing_off(attempt, now) && self.tasks.load(host).1 < it.bounds().1)
    }

    fn inspect(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        if let Some(Ok(client)) =
            self.views.get(&host).map(|it| it.host_client.client(self.shared.connector.as_ref()))
        {
            let work = async move { client.inspect(attempt).await };
            self.tasks.inspect(host, attempt, now, INSPECT_LIMIT, work);
        }
    }

    fn remove_unstarted(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        if let Some(Ok(client)) =
            self.views.get(&host).map(|it| it.host_client.client(self.shared.connector.as_ref()))
        {
            let work = async move { client.remove_unstarted(attempt).await };
            self.tasks.remove_unstarted(host, attempt, now, self.shared.config.start_timeout, work);
        }
    }

    fn remove(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if !self.may_touch(host, attempt, now) {
            return;
        }
        let grace = self.shared.config.stop_grace;
        if let Some(Ok(client)) =
            self.views.get(&host).map(|it| it.host_client.client(self.shared.connector.as_ref()))
        {
            let limit = self.shared.config.start_timeout.saturating_add(grace);
            self.tasks.remove(host, attempt, now, limit, async move { client.remove(attempt, grace).await });
        }
    }

    /// Begins the attempts of runtimes that wait, as far as hosts have the capacity: matches first,
    /// then the older.
    pub(super) async fn start_waiting(&mut self, now: Ticks) {
        let busy = self.tasks.busy();
        let mut queue: Vec<_> = self
            .entries
            .values()
            .filter(|it| !busy.contains(&it.attempt()) && self.next_step(it, now) == RuntimeStep::Begin)
            .map(|it| scheduler::turn(it.row.qualifier, it.row.created, it.row.id))
            .collect();
        if queue.is_empty() {
            return;
        }
        queue.sort_unstable();
        let mut capacities = self.capacities(now);
        for (_, _, id) in queue {
            let Some(entry) = self.entries.get(&id) else { continue };
            let (need, not_before) = (entry.need(), entry.not_before);
            let image =
                ImageName { repository: entry.row.repository.clone(), digest: entry.row.digest.clone() };
            let kept = entry.reserved.filter(|host| capacities.iter().any(|it| it.host == *host && it.open));
            let host = kept.or_else(|| {
                let host = scheduler::choose_host(&capacities, need, self.shared.config.strategy)?;
                capacities.iter_mut().filter(|it| it.host == host).for_each(|it| it.reserve(need));
                Some(host)
            });
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.reserved = host;
            }
            match host {
                Some(host) => self.bring_up(id, host, image, now).await,
                None if now >= not_before => self.record_no_capacity(id, need, &capacities, now).await,
                None => {}
            }
        }
    }

    /// The capacities of the hosts, with all reservations.
    fn capacities(&self, now: Ticks) -> Vec<Capacity> {
        let mut capacities: BTreeMap<HostId, Capacity> =
            self.views.iter().map(|(id, it)| (*id, it.capacity(self.health(*id, now)))).collect();
        for entry in self.entries.values() {
            let host = entry.row.host_id.or(entry.reserved);
            if let Some(capacity) = host.and_then(|it| capacities.get_mut(&it)) {
                capacity.reserve(entry.need());
            }
        }
        capacities.into_values().collect()
    }

    /// The next step towards a container of `id` on `host`: its image, or its start.
    async fn bring_up(&mut self, id: RuntimeId, host: HostId, image: ImageName, now: Ticks) {
        let Some(view) = self.views.get(&host) else { return };
        let Ok(client) = view.host_client.client(self.shared.connector.as_ref()) else { return };
        if !view.images.contains(&image) {
            if !self.tasks.is_running(host, &HostOp::Pull(image.clone())) {
                let (tokens, limit) = (self.shared.pull_tokens.clone(), self.shared.config.pull_timeout);
                let pulled = image.clone();
                let work = async move { client.ensure_image(&pulled, tokens.as_ref()).await };
                self.tasks.pull(host, image, now, limit, work);
            }
            return;
        }
        if self.tasks.load(host).0 >= view.bounds().0 {
            return;
        }
        let password = self.shared.secrets.generate();
        let Some(row) = self.begin(id, host, &password, now).await else { return };
        let spec = spec(&row, image, password, &self.shared);
        let attempt = spec.attempt;
        let work = async move { client.start(&spec).await };
        self.tasks.start(host, attempt, now, self.shared.config.start_timeout, work);
    }

    async fn record_no_capacity(&mut self, id: RuntimeId, need: Need, capacities: &[Capacity], now: Ticks) {
        // Before the hosts have listed their containers, nobody knows their capacity.
        let unlisted = |(host, view): (&HostId, &super::host_view::HostView)| {
            self.health(*host, now) == HostHealth::Unknown && !view.pulse.is_missing()
        };
        if self.views.iter().any(unlisted) {
            return;
        }
        let open = capacities.iter().filter(|it| it.open).count();
        let reason = format!(
            "no Docker host has room for CPU {} (100 = one core) and {} MiB; {open} of {} hosts take containers now",
            need.cpu,
            need.memory,
            capacities.len()
        );
        let failure = self.failure(reason, None);
        self.fail_attempt(id, failure, true, now).await;
    }

    /// Removes containers that are no present attempt of any runtime.
    pub(super) async fn sweep_strays(&mut self, now: Ticks) {
        let busy = self.tasks.busy();
        let mut strays: Vec<(HostId, Attempt)> = Vec::new();
        for (host, view) in &self.views {
            if self.health(*host, now) != HostHealth::Up {
                continue;
            }
            let unknown = |it: &Attempt| !busy.contains(it) && !self.belongs(*host, *it);
            strays.extend(view.containers().map(|it| it.0).filter(unknown).map(|it| (*host, it)));
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
                    if let Some(view) = self.views.get_mut(&host) {
                        view.step_failed(attempt, now);
                    }
                    self.problem.get_or_insert(problem);
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

fn spec(row: &Row, image: ImageName, password: String, shared: &Shared) -> ContainerSpec {
    let mut env = vec![
        ("OMGSERVERS_RUNTIME_ID", row.id.to_string()),
        ("OMGSERVERS_PASSWORD", password),
        ("OMGSERVERS_RUNTIME_QUALIFIER", row.qualifier.to_string()),
        ("OMGSERVERS_SERVICE_URL", shared.config.service_url.clone()),
    ];
    if row.has_ports() {
        env.push(("OMGSERVERS_CONNECT_KEY", shared.connect_key.pem.clone()));
    }
    if let Some(trace) = context::read_current(|context| context.trace).flatten() {
        env.push((TRACE_PARENT, trace.to_string()));
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
