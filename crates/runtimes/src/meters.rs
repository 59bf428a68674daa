//! What operators see.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::rules::Observed;

/// Handles that are looked up once.
pub(crate) struct Meters {
    pub(crate) started: Counter,
    pub(crate) not_started: Counter,
    pub(crate) ended: Counter,
    pending: Gauge,
    running: Gauge,
    failed: Gauge,
    steps: Gauge,
}

impl Meters {
    /// The recorder must be installed before.
    pub(crate) fn new() -> Self {
        describe_counter!("omgservers_containers_started_total", "Containers that were started.");
        describe_counter!(
            "omgservers_container_failures_total",
            "Containers that failed: start couldn't be started, ended came to an end by themselves."
        );
        describe_gauge!(
            "omgservers_runtimes_wanted",
            "Runtimes that are known, by what is recorded of them."
        );
        describe_gauge!("omgservers_runtimes_host_calls", "Calls of Docker that are under way.");
        let wanted = |state: &'static str| gauge!("omgservers_runtimes_wanted", "state" => state);
        let failures = |kind: &'static str| counter!("omgservers_container_failures_total", "kind" => kind);
        Self {
            started: counter!("omgservers_containers_started_total"),
            not_started: failures("start"),
            ended: failures("ended"),
            pending: wanted("pending"),
            running: wanted("running"),
            failed: wanted("failed"),
            steps: gauge!("omgservers_runtimes_host_calls"),
        }
    }

    /// What the reconciler knows now.
    pub(crate) fn show(&self, all: impl Iterator<Item = Observed>, steps: usize) {
        let (mut pending, mut running, mut failed) = (0_u32, 0_u32, 0_u32);
        for observed in all {
            let count = match observed {
                Observed::Pending => &mut pending,
                Observed::Running => &mut running,
                Observed::Failed => &mut failed,
            };
            *count = count.saturating_add(1);
        }
        self.pending.set(pending);
        self.running.set(running);
        self.failed.set(failed);
        self.steps.set(f64::from(u32::try_from(steps).unwrap_or(u32::MAX)));
    }
}
