//! The task that writes the journal's batches.

use std::{ops::Range, sync::Arc, time::Duration};

use omgservers_api::Slot;
use omgservers_core::{Backoff, Ownership, Tenure};
use tokio::time::Instant;

use super::{
    Journal,
    batch::Batch,
    connection::{Backend, Failure, JournalSession},
    record::Rows,
};
use crate::{ack::BatchOutcome, meters::Meters};

/// An attempt that takes longer for each of its statements has lost its connection.
const ATTEMPT: Duration = Duration::from_secs(40);
/// The pauses between attempts. The longest one bounds how late the writer notices that the
/// database is back.
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(320));

/// Writes one batch after the other, and retries each, until another process owns all of the data.
pub(crate) struct Writer {
    url: String,
    journal: Arc<Journal>,
    ownership: Ownership,
    meters: Meters,
    session: Option<JournalSession>,
    /// The backend of the session before.
    predecessor: Option<Backend>,
}

impl Writer {
    pub(crate) fn new(
        url: &str,
        journal: Arc<Journal>,
        ownership: Ownership,
        meters: Meters,
        session: JournalSession,
    ) -> Self {
        Self { url: url.to_owned(), journal, ownership, meters, session: Some(session), predecessor: None }
    }

    /// Runs until all of the data is lost; abort it to end earlier.
    pub(crate) async fn run(mut self) {
        let lost = self.ownership.lost().clone();
        lost.run_until_cancelled(Box::pin(self.write_all())).await;
        tracing::error!("another process owns the mailboxes: nothing is written any more");
        self.ownership.lose_all();
        self.journal.stop(BatchOutcome::Lost);
    }

    /// Ends when all of the data is lost.
    async fn write_all(&mut self) {
        loop {
            let mut batch = self.journal.next().await;
            self.meters.depth(self.journal.depth());
            let start = Instant::now();
            let Ok(rows) = self.write(&mut batch).await else { return };
            if rows > 0 {
                self.meters.committed(rows, start.elapsed());
            }
            self.journal.written();
            if let Some(since) = batch.since {
                self.meters.waited(since.elapsed());
            }
            self.journal.linger(batch.commits, start.elapsed()).await;
        }
    }

    /// Writes the records of a batch that this process still owns; answers the number of rows.
    async fn write(&mut self, batch: &mut Batch) -> Result<usize, Lost> {
        let mut failures = 0u32;
        let mut again = false;
        self.drop_lost(batch);
        loop {
            let rows = Rows::fold(&batch.records);
            // Its entries may all have been consumed before, or be in lost slots.
            if rows.count() == 0 {
                return Ok(0);
            }
            let expected = self.expected(batch, &rows)?;
            let pieces = JournalSession::pieces(&rows);
            let most = ATTEMPT.saturating_mul(u32::try_from(pieces.len()).unwrap_or(u32::MAX).max(1));
            let attempt = tokio::time::timeout(most, self.attempt(&rows, &pieces, &expected, again)).await;
            let count = rows.count();
            let reason = match attempt {
                Ok(Ok(())) => return Ok(count),
                Ok(Err(Failure::Lost(slots))) => {
                    if !self.ownership.by_slot() {
                        return Err(Lost);
                    }
                    self.drop_slots(batch, &slots);
                    continue;
                }
                Ok(Err(Failure::Database(reason))) => reason,
                Err(_elapsed) => "no answer".to_owned(),
            };
            failures = failures.saturating_add(1);
            let pause = RETRY.after(failures);
            tracing::warn!(%reason, rows = count, ?pause, "a batch of messages could not be written; it is tried again");
            self.meters.failed();
            self.predecessor = self.session.take().map(|it| it.backend).or(self.predecessor);
            // The failed attempt may have committed.
            again = true;
            tokio::time::sleep(pause).await;
        }
    }

    /// The epochs that the fence must find: those at which the records were made.
    fn expected(&self, batch: &Batch, rows: &Rows<'_>) -> Result<Vec<(i16, i64)>, Lost> {
        if self.ownership.by_slot() {
            return Ok(batch.expected(&rows.slots));
        }
        self.ownership.expected(rows.slots.iter().copied()).map_err(|_not_owner| Lost)
    }

    /// Drops the records of tenures that are known to be lost.
    fn drop_lost(&self, batch: &mut Batch) {
        let lost: Vec<Slot> = batch.tenures.values().filter(|it| it.is_lost()).map(|it| it.slot()).collect();
        self.drop_slots(batch, &lost);
    }

    /// Drops the records of lost slots. Marks their tenures first: the end of the batch must not
    /// acknowledge such a record.
    fn drop_slots(&self, batch: &mut Batch, slots: &[Slot]) {
        if slots.is_empty() {
            return;
        }
        tracing::warn!(?slots, "another process owns these slots: nothing of them is written any more");
        let lost: Vec<Arc<Tenure>> = slots.iter().filter_map(|it| batch.tenures.get(it).cloned()).collect();
        lost.iter().for_each(|it| self.ownership.lose(it));
        self.journal.lose(&lost);
        batch.cancel(slots);
    }

    async fn attempt(
        &mut self,
        rows: &Rows<'_>,
        pieces: &[Range<usize>],
        expected: &[(i16, i64)],
        again: bool,
    ) -> Result<(), Failure> {
        if let Some(closed) = self.session.take_if(|it| it.client.is_closed()) {
            self.predecessor = Some(closed.backend);
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(JournalSession::open(&self.url, self.predecessor).await?),
        };
        if again {
            // A failure doesn't show whether the fence refused the batch; this comparison does.
            let lost = self.ownership.compare(expected, session.owners(expected).await?);
            if !lost.is_empty() {
                return Err(Failure::Lost(lost));
            }
        }
        Ok(session.write(rows, pieces, expected, again).await?)
    }
}

/// Another process owns all of the data.
struct Lost;
