//! One entry of a mailbox in memory, and where the journal has it.

use std::sync::Arc;

use omgservers_api::EntryId;

use crate::{Body, Entry, ack::Completion, qualifier::Qualifier};

/// One entry of a queue.
#[derive(Debug, Clone)]
pub(crate) struct QueuedEntry {
    pub(crate) id: EntryId,
    pub(crate) qualifier: Qualifier,
    pub(crate) body: Body,
    /// Where the journal has it.
    pub(crate) position: JournalPosition,
    /// What its sender waits for.
    pub(crate) completion: Option<Arc<Completion>>,
}

impl QueuedEntry {
    /// The entry as its receiver gets it.
    pub(crate) fn to_entry(&self) -> Entry {
        Entry { id: self.id, qualifier: self.qualifier.word(), body: self.body.clone() }
    }
}

/// Where the journal has an entry: the batch, and the record in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalPosition {
    pub(crate) batch: u64,
    pub(crate) record: usize,
}

impl JournalPosition {
    /// Of an entry that isn't written at all.
    pub(crate) const NOWHERE: Self = Self { batch: u64::MAX, record: 0 };
    /// Of an entry that was read from the database.
    pub(crate) const DATABASE: Self = Self { batch: 0, record: 0 };
}
