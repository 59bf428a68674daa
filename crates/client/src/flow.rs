//! What both sides of the interchange have in common: counters, batches, acknowledgements, duplicates.
//!
//! There is no I/O here. A batch stays as it is until it was answered, so that a repeated request has the same
//! entries with the same counters and the backend can tell that it is a repetition.

use std::collections::{HashSet, VecDeque};

use omgservers_api::{
    EntryId,
    ids::SenderSeq,
    interchange::{Incoming, MOST_ENTRIES, Outgoing},
};
use serde_json::value::RawValue;

/// Most entries of a batch.
const MOST_BATCH: usize = 1_000;
/// Most bytes of a batch with more than one entry.
const MOST_BYTES: usize = 512 * 1024;
/// How many received ids are remembered.
const REMEMBERED: usize = 16 * 1024;

struct Item {
    seq: SenderSeq,
    qualifier: &'static str,
    body: Box<RawValue>,
}

/// One direction out, one in.
pub(crate) struct Flow {
    next: u64,
    queued: VecDeque<Item>,
    batch: Vec<Item>,
    received: Vec<EntryId>,
    seen: Seen,
}

impl Flow {
    /// The first entry gets the number `first`.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            next: first,
            queued: VecDeque::new(),
            batch: Vec::new(),
            received: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Queues an entry.
    pub(crate) fn push(&mut self, qualifier: &'static str, body: Box<RawValue>) -> SenderSeq {
        let seq = SenderSeq(self.next);
        self.next = self.next.saturating_add(1);
        self.queued.push_back(Item { seq, qualifier, body });
        seq
    }

    /// Whether there is something to send.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.batch.is_empty() || !self.queued.is_empty()
    }

    /// What the next request holds: the batch that wasn't answered, or else a fresh one.
    pub(crate) fn request(&mut self) -> (Vec<Outgoing<'_>>, Vec<EntryId>) {
        if self.batch.is_empty() {
            let mut bytes = 0;
            while let Some(item) = self.queued.front() {
                bytes += item.body.get().len();
                let full = self.batch.len() == MOST_BATCH || (bytes > MOST_BYTES && !self.batch.is_empty());
                if full {
                    break;
                }
                self.batch.extend(self.queued.pop_front());
            }
        }
        let outgoing = self
            .batch
            .iter()
            .map(|it| Outgoing { id: Some(it.seq), qualifier: it.qualifier.into(), body: Some(&it.body) })
            .collect();
        (outgoing, self.received.iter().take(MOST_ENTRIES).copied().collect())
    }

    /// The counter of entry `index` of the batch.
    pub(crate) fn seq(&self, index: usize) -> Option<SenderSeq> {
        self.batch.get(index).map(|it| it.seq)
    }

    /// The request was answered: forgets what it held and answers what of `incoming` is new.
    pub(crate) fn settle(&mut self, consumed: usize, incoming: Vec<Incoming>) -> Vec<Incoming> {
        self.batch.clear();
        self.received.drain(..consumed.min(self.received.len()));
        self.received.extend(incoming.iter().map(|it| it.id));
        incoming.into_iter().filter(|it| self.seen.insert(it.id)).collect()
    }

    /// The request was refused for good: its batch is given up, or everything after it would be stuck.
    pub(crate) fn give_up(&mut self) {
        self.batch.clear();
    }
}

/// The ids received last.
#[derive(Default)]
struct Seen {
    ids: HashSet<EntryId>,
    order: VecDeque<EntryId>,
}

impl Seen {
    /// Whether the id is new.
    fn insert(&mut self, id: EntryId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }
    fn incoming(id: i64) -> Incoming {
        Incoming { id: EntryId::from_i64(id).unwrap(), qualifier: "Q".into(), body: raw("{}") }
    }
    fn numbers(flow: &mut Flow) -> Vec<u64> {
        flow.request().0.iter().map(|it| it.id.unwrap().0).collect()
    }

    #[test]
    fn a_batch_stays_the_same_until_it_was_answered() {
        let mut flow = Flow::from(0);
        flow.push("Q", raw("1"));
        assert_eq!(numbers(&mut flow), [0]);
        flow.push("Q", raw("2"));
        assert_eq!(numbers(&mut flow), [0], "what came later waits");
        flow.settle(0, Vec::new());
        assert_eq!(numbers(&mut flow), [1]);
        flow.settle(0, Vec::new());
        assert!(!flow.has_outgoing());
    }

    #[test]
    fn a_repeated_entry_is_acknowledged_again_and_handed_on_once() {
        let mut flow = Flow::from(0);
        assert_eq!(flow.settle(0, vec![incoming(1), incoming(2)]).len(), 2);
        assert_eq!(flow.request().1.len(), 2);
        let fresh = flow.settle(2, vec![incoming(2), incoming(3)]);
        assert_eq!(fresh.iter().map(|it| it.id.get()).collect::<Vec<_>>(), [3]);
        assert_eq!(flow.request().1.len(), 2, "2 and 3, and no more 1");
    }

    #[test]
    fn a_large_entry_goes_alone() {
        let mut flow = Flow::from(0);
        for _ in 0..3 {
            flow.push("Q", raw(&format!("\"{}\"", "x".repeat(MOST_BYTES / 2 + 10))));
        }
        for expected in 0..3 {
            assert_eq!(numbers(&mut flow), [expected]);
            flow.settle(0, Vec::new());
        }
        flow.push("Q", raw(&format!("\"{}\"", "x".repeat(MOST_BYTES * 2))));
        assert_eq!(numbers(&mut flow), [3]);
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_leaves_once_and_in_order(pushes in prop::collection::vec(0usize..1500, 1..6)) {
            let mut flow = Flow::from(7);
            let mut left = Vec::new();
            for many in &pushes {
                for _ in 0..*many {
                    flow.push("Q", raw("0"));
                }
                left.extend(numbers(&mut flow));
                flow.settle(0, Vec::new());
            }
            while flow.has_outgoing() {
                left.extend(numbers(&mut flow));
                flow.settle(0, Vec::new());
            }
            let all: u64 = pushes.iter().map(|it| u64::try_from(*it).unwrap()).sum();
            prop_assert_eq!(left, (7..7 + all).collect::<Vec<_>>());
        }
    }

    #[test]
    fn memory_of_received_ids_is_bounded() {
        let mut seen = Seen::default();
        for id in 1..=i64::try_from(REMEMBERED).unwrap() + 10 {
            assert!(seen.insert(EntryId::from_i64(id).unwrap()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!seen.insert(EntryId::from_i64(100).unwrap()));
        assert!(seen.insert(EntryId::from_i64(1).unwrap()), "the oldest is forgotten");
    }
}
