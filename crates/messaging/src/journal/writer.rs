//! The one task that writes.

use std::{sync::Arc, time::Duration};

use omgservers_core::{Backoff, Ownership};
use tokio::time::Instant;

use super::{
    Journal,
    connection::{Backend, Failure, Session},
    record::Rows,
};
use crate::{ack::BatchOutcome, meters::Meters};

/// An attempt that takes longer has no connection any more.
const ATTEMPT: Duration = Duration::from_secs(40);
/// The pauses between attempts. The longest bounds how late the writer notices that the database is back.
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(320));

/// Writes one batch after the other, each for as long as it takes, until the data is another process's.
pub(crate) struct Writer {
    url: String,
    journal: Arc<Journal>,
    ownership: Ownership,
    meters: Meters,
    session: Option<Session>,
    /// Of the session before.
    predecessor: Option<Backend>,
}

impl Writer {
    pub(crate) fn new(
        url: &str,
        journal: Arc<Journal>,
        ownership: Ownership,
        meters: Meters,
        session: Session,
    ) -> Self {
        Self { url: url.to_owned(), journal, ownership, meters, session: Some(session), predecessor: None }
    }

    /// Runs until the data is lost; abort it to end earlier.
    pub(crate) async fn run(mut self) {
        let lost = self.ownership.lost().clone();
        lost.run_until_cancelled(Box::pin(self.write_all())).await;
        tracing::error!("another process owns the mailboxes: nothing is written any more");
        self.ownership.lost().cancel();
        self.journal.stop(BatchOutcome::Lost);
    }

    /// Ends when the data is lost.
    async fn write_all(&mut self) {
        loop {
            let batch = self.journal.next().await;
            self.meters.depth(self.journal.depth());
            let rows = Rows::fold(&batch.records);
            let start = Instant::now();
            // Everything in it may have been consumed before it was written.
            if rows.count() > 0 {
                if self.write(&rows).await.is_err() {
                    return;
                }
                self.meters.committed(rows.count(), start.elapsed());
            }
            self.journal.written();
            if let Some(since) = batch.since {
                self.meters.waited(since.elapsed());
            }
            self.journal.linger(batch.commits, start.elapsed()).await;
        }
    }

    async fn write(&mut self, rows: &Rows<'_>) -> Result<(), Lost> {
        let Ok(expected) = self.ownership.expected(rows.slots.iter().copied()) else { return Err(Lost) };
        let mut failures = 0u32;
        let mut again = false;
        loop {
            let attempt = tokio::time::timeout(ATTEMPT, self.attempt(rows, &expected, again)).await;
            let reason = match attempt {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Failure::Lost)) => return Err(Lost),
                Ok(Err(Failure::Database(reason))) => reason,
                Err(_elapsed) => "no answer".to_owned(),
            };
            failures = failures.saturating_add(1);
            let pause = RETRY.after(failures);
            tracing::warn!(%reason, rows = rows.count(), ?pause, "a batch of messages could not be written; it is tried again");
            self.meters.failed();
            self.predecessor = self.session.take().map(|it| it.backend).or(self.predecessor);
            // Whether it was written isn't known.
            again = true;
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &mut self,
        rows: &Rows<'_>,
        expected: &[(i16, i64)],
        again: bool,
    ) -> Result<(), Failure> {
        if let Some(closed) = self.session.take_if(|it| it.client.is_closed()) {
            self.predecessor = Some(closed.backend);
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.url, self.predecessor).await?),
        };
        if again {
            // The fence fails like everything else does: here it is told apart.
            let owners = session.owners(expected).await?;
            self.ownership.compare(expected, owners).map_err(|_not_owner| Failure::Lost)?;
        }
        Ok(session.write(rows, expected, again).await?)
    }
}

/// The data is another process's.
struct Lost;
