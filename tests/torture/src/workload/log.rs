//! The history while it happens.

use std::sync::Mutex;

use super::lock;
use crate::history::Record;

/// Everybody adds to it; one takes from it.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<Record>>);

impl Log {
    pub(crate) fn add(&self, record: Record) {
        lock(&self.0).push(record);
    }

    pub(crate) fn add_all(&self, records: impl IntoIterator<Item = Record>) {
        lock(&self.0).extend(records);
    }

    /// What was added since it was last taken.
    pub(crate) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *lock(&self.0))
    }
}
