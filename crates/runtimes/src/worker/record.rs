//! The writes of the reconciler. Each is one transaction in the runtime's slot, which checks the
//! ownership.

use omgservers_api::{HostId, Problem, RuntimeId, details::ContainerFailure, ids::Id as _};
use omgservers_core::{FencedTx, Ticks, db::TxFn};
use serde_json::Value;

use super::reconcile::Reconcile;
use crate::{
    rules::RETRY,
    store::{self, Row},
};

/// The pause after the database failed.
const DB_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

impl Reconcile {
    /// Writes the row of a runtime.
    async fn write<R, F>(&self, id: RuntimeId, work: F) -> Result<R, Problem>
    where
        R: Send,
        F: for<'c> AsyncFnOnce(FencedTx<'c>) -> Result<R, Problem>
            + for<'c> TxFn<FencedTx<'c>, Result<R, Problem>, Fut: Send>
            + Send,
    {
        let ids = [id];
        let _stale = self.shared.known.stale(&ids);
        self.shared.db.write_owned(&self.shared.ownership, &[id.slot()], work).await
    }

    /// Reads a row and makes sure that this process still owns it. A process that lost its slots
    /// must not remove the containers of its successor.
    pub(super) async fn read_fenced(&self, id: RuntimeId) -> Result<Option<Row>, Problem> {
        self.shared
            .db
            .write_owned(&self.shared.ownership, &[id.slot()], async |mut tx| {
                Ok(store::by_ids(tx.conn(), &[id]).await?.pop())
            })
            .await
    }

    pub(super) async fn begin(
        &mut self,
        id: RuntimeId,
        host: HostId,
        password: &str,
        now: Ticks,
    ) -> Option<Row> {
        let row = self.entries.get(&id)?.row.clone();
        let digest = self.shared.secrets.digest(password);
        let key = row.has_ports().then_some(self.shared.connect_key.kid.as_str());
        let written = self.write(id, async |tx| store::begin(tx, &row, host, &digest, key).await).await;
        let row = self.recorded(id, written, now)?;
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.reserved, entry.unschedulable) = (None, false);
        }
        Some(row)
    }

    pub(super) async fn record_running(&mut self, id: RuntimeId, published: Option<Value>, now: Ticks) {
        let Some(row) = self.entries.get(&id).map(|it| it.row.clone()) else { return };
        let started = self.shared.clock.now();
        let deployment = row.deployment_id;
        // Before the write, because a reader of the row looks the moment up.
        self.shared.set_since(id, Some(now));
        let written =
            self.write(id, async |tx| store::set_running(tx, &row, started, published.as_ref()).await).await;
        if self.recorded(id, written, now).is_some() {
            self.meters.started.increment(1);
            self.shared.changed.enqueue(deployment);
        }
    }

    /// Records where the ports of a running runtime are now.
    pub(super) async fn record_published(&mut self, id: RuntimeId, published: &Value, now: Ticks) {
        let Some(row) = self.entries.get(&id).map(|it| it.row.clone()) else { return };
        let written = self.write(id, async |tx| store::set_published(tx, &row, published).await).await;
        if let Some(row) = self.recorded(id, written, now) {
            tracing::warn!(runtime.id = %id, "the ports of a runtime are elsewhere now");
            self.shared.changed.enqueue(row.deployment_id);
        }
    }

    /// Releases the host of an attempt that never ran; another attempt follows.
    pub(super) async fn release(&mut self, id: RuntimeId, now: Ticks) {
        let Some(row) = self.entries.get(&id).map(|it| it.row.clone()) else { return };
        let written = self.write(id, async |tx| store::release(tx, &row).await).await;
        self.recorded(id, written, now);
    }

    pub(super) async fn delete(&mut self, id: RuntimeId, now: Ticks) {
        let written = self.write(id, async |tx| store::delete(tx, id).await).await;
        match written {
            Ok(_) => {
                let entry = self.entries.remove(&id);
                self.shared.set_since(id, None);
                self.changed = self.changed.saturating_add(1);
                if let Some(entry) = entry {
                    self.shared.changed.enqueue(entry.row.deployment_id);
                }
            }
            Err(problem) => self.record_problem(id, problem, now),
        }
    }

    /// Records a failed attempt; another one follows after a pause.
    pub(super) async fn fail_attempt(
        &mut self,
        id: RuntimeId,
        failure: ContainerFailure,
        unschedulable: bool,
        now: Ticks,
    ) {
        if let Some(row) = self.record_failure(id, &failure, false, now).await
            && let Some(entry) = self.entries.get_mut(&id)
        {
            entry.not_before = now.plus(RETRY.after(row.failures()));
            (entry.unschedulable, entry.reserved) = (unschedulable, None);
        }
    }

    /// Records that a runtime has ended.
    pub(super) async fn fail(&mut self, id: RuntimeId, failure: ContainerFailure, now: Ticks) {
        if self.record_failure(id, &failure, true, now).await.is_some() {
            self.shared.set_since(id, None);
        }
    }

    async fn record_failure(
        &mut self,
        id: RuntimeId,
        failure: &ContainerFailure,
        for_good: bool,
        now: Ticks,
    ) -> Option<Row> {
        let row = self.entries.get(&id)?.row.clone();
        let body = serde_json::to_value(failure).ok()?;
        let (db, ownership) = (&self.shared.db, &self.shared.ownership);
        // The failure is also listed with the deployment, whose slot may be another one. That write
        // comes first and may be repeated.
        let noted = db
            .write_owned(ownership, &[row.deployment_id.slot()], async |tx| {
                store::note_failure(tx, &row, failure.at, &body).await
            })
            .await;
        let written = match noted {
            Ok(()) => {
                self.write(id, async |tx| {
                    if for_good {
                        store::set_failed(tx, &row, &body).await
                    } else {
                        store::set_attempt_failed(tx, &row, &body).await
                    }
                })
                .await
            }
            Err(problem) => Err(problem),
        };
        let row = self.recorded(id, written, now)?;
        let failures = if for_good { &self.meters.ended } else { &self.meters.not_started };
        failures.increment(1);
        tracing::warn!(runtime.id = %id, deployment.id = %row.deployment_id, failures = row.failures,
            reason = failure.reason, exit_code = failure.exit_code, "a runtime failed");
        self.shared.changed.enqueue(row.deployment_id);
        Some(row)
    }

    /// Takes over the row as it was written. `None` when it wasn't; the next run reads it again.
    fn recorded(&mut self, id: RuntimeId, written: Result<Option<Row>, Problem>, now: Ticks) -> Option<Row> {
        match written {
            Ok(Some(row)) => {
                self.changed = self.changed.saturating_add(1);
                self.put(row.clone(), now);
                Some(row)
            }
            Ok(None) => {
                self.shared.requeue([id]);
                self.again = true;
                None
            }
            Err(problem) => {
                self.record_problem(id, problem, now);
                None
            }
        }
    }

    fn record_problem(&mut self, id: RuntimeId, problem: Problem, now: Ticks) {
        // The commit may have succeeded nevertheless.
        self.shared.requeue([id]);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.not_before = entry.not_before.max(now.plus(DB_PAUSE));
            entry.unschedulable = false;
        }
        self.problem.get_or_insert(problem);
    }
}
