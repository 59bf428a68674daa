//! One entry of a mailbox in memory, and its position in the journal.

use std::{borrow::Cow, sync::Arc};

use omgservers_api::EntryId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{Body, Entry, ack::Completion, qualifier::Qualifier};

/// One entry of a queue.
#[derive(Debug, Clone)]
pub(crate) struct QueuedEntry {
    pub(crate) id: EntryId,
    pub(crate) qualifier: Qualifier,
    pub(crate) body: Body,
    /// The position of its record in the journal.
    pub(crate) position: JournalPosition,
    /// The completion that its sender waits for.
    pub(crate) completion: Option<Arc<Completion>>,
}

impl QueuedEntry {
    /// The entry in the form that its receiver gets.
    pub(crate) fn to_entry(&self) -> Entry {
        Entry { id: self.id, qualifier: self.qualifier.word(), body: self.body.clone() }
    }
}

/// The position of an entry in the journal: the batch, and the record in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalPosition {
    pub(crate) batch: u64,
    pub(crate) record: usize,
}

impl JournalPosition {
    /// The position of an entry that is never written.
    pub(crate) const NOWHERE: Self = Self { batch: u64::MAX, record: 0 };
    /// The position of an entry that was loaded from the database.
    pub(crate) const DATABASE: Self = Self { batch: 0, record: 0 };
}

/// An entry on its path to another process. The body is quoted, so it arrives byte for byte.
#[derive(Serialize, Deserialize)]
struct EntryRecord<'a> {
    id: EntryId,
    #[serde(borrow)]
    qualifier: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (qualifier, body) = (Cow::Borrowed(self.qualifier), Cow::Borrowed(&*self.body));
        EntryRecord { id: self.id, qualifier, body }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let EntryRecord { id, qualifier, body } = EntryRecord::deserialize(deserializer)?;
        let qualifier = Qualifier::of(&qualifier)
            .ok_or_else(|| D::Error::custom(format!("there is no qualifier {qualifier:?}")))?;
        Ok(Self { id, qualifier: qualifier.word(), body: body.into_owned().into() })
    }
}
