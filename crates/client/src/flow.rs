//! What both sides of the interchange have in common: counters, batches, acknowledgements,
//! duplicates.
//!
//! There is no I/O here. What was sent keeps its counters until it was answered, so that the
//! backend can tell a repetition. Over requests one batch is under way; over a stream there are
//! many frames.

use std::{
    collections::{HashSet, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use omgservers_api::{
    EntryId,
    ids::SenderSeq,
    interchange::{Incoming, MAX_ENTRIES, Outgoing},
    stream::ClientFrame,
};
use serde_json::value::RawValue;

/// Most entries of a batch.
const MOST_BATCH: usize = 1_000;
/// Most bytes of a batch with more than one entry.
const MOST_BYTES: usize = 512 * 1024;
/// Most frames of a stream that weren't answered.
const MOST_FRAMES: usize = 32;
/// How many received ids are remembered.
const REMEMBERED: usize = 16 * 1024;

/// The first number of a process that goes on with what another one has begun. The backend
/// remembers the greatest number that a sender has used; microseconds are beyond any number of the
/// earlier process.
pub(crate) fn first_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

struct QueuedItem {
    seq: SenderSeq,
    qualifier: &'static str,
    body: Box<RawValue>,
}

impl QueuedItem {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing { id: Some(self.seq), qualifier: self.qualifier.into(), body: Some(&self.body) }
    }
}

/// One direction out, one in.
pub(crate) struct Flow {
    next: u64,
    queued: VecDeque<QueuedItem>,
    /// Under way.
    batch: VecDeque<QueuedItem>,
    /// The last number of each frame that is under way.
    frames: VecDeque<SenderSeq>,
    received: Vec<EntryId>,
    seen: Seen,
}

impl Flow {
    /// The first entry gets the number `first`.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            next: first,
            queued: VecDeque::new(),
            batch: VecDeque::new(),
            frames: VecDeque::new(),
            received: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Queues an entry.
    pub(crate) fn push(&mut self, qualifier: &'static str, body: Box<RawValue>) -> SenderSeq {
        let seq = SenderSeq(self.next);
        self.next = self.next.saturating_add(1);
        self.queued.push_back(QueuedItem { seq, qualifier, body });
        seq
    }

    /// Whether there is something to send.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.batch.is_empty() || !self.queued.is_empty()
    }

    /// What the next request holds: the batch that wasn't answered, or else a fresh one.
    pub(crate) fn request(&mut self) -> (Vec<Outgoing<'_>>, Vec<EntryId>) {
        if self.batch.is_empty() {
            let chunk = self.chunk();
            self.batch.extend(chunk);
        }
        let outgoing = self.batch.iter().map(QueuedItem::outgoing).collect();
        (outgoing, self.received.iter().take(MAX_ENTRIES).copied().collect())
    }

    /// The counter of entry `index` of the batch.
    pub(crate) fn seq(&self, index: usize) -> Option<SenderSeq> {
        self.batch.get(index).map(|it| it.seq)
    }

    /// What goes out together next.
    fn chunk(&mut self) -> Vec<QueuedItem> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(item) = self.queued.front() {
            bytes += item.body.get().len();
            let full = chunk.len() == MOST_BATCH || (bytes > MOST_BYTES && !chunk.is_empty());
            if full {
                break;
            }
            chunk.extend(self.queued.pop_front());
        }
        chunk
    }

    /// The request was answered: forgets what it held.
    pub(crate) fn answered(&mut self, consumed: usize) {
        self.batch.clear();
        self.received.drain(..consumed.min(self.received.len()));
    }

    /// The request was answered: forgets what it held, acknowledges `incoming` with the next one
    /// and answers what of it is new.
    pub(crate) fn settle(&mut self, consumed: usize, incoming: Vec<Incoming>) -> Vec<Incoming> {
        self.answered(consumed);
        self.received.extend(incoming.iter().map(|it| it.id));
        incoming.into_iter().filter(|it| self.seen.insert(it.id)).collect()
    }

    /// What of `incoming` is new; it is acknowledged when it was [handed on](Self::handed). What is
    /// not new is acknowledged again, unless it still `waits`.
    pub(crate) fn arrived(
        &mut self,
        incoming: Vec<Incoming>,
        waits: impl Fn(EntryId) -> bool,
    ) -> Vec<Incoming> {
        let mut fresh = Vec::new();
        for entry in incoming {
            if self.seen.insert(entry.id) {
                fresh.push(entry);
            } else if !waits(entry.id) && !self.received.contains(&entry.id) {
                self.received.push(entry.id);
            }
        }
        fresh
    }

    /// An entry was handed on.
    pub(crate) fn handed(&mut self, id: EntryId) {
        self.received.push(id);
    }

    /// The next frame for a stream. It has the queued messages that aren't under way, and the
    /// received ones that aren't acknowledged. `None` when there are none, or too many frames are
    /// unanswered.
    pub(crate) fn frame(&mut self) -> Option<String> {
        let chunk = if self.frames.len() < MOST_FRAMES { self.chunk() } else { Vec::new() };
        if chunk.is_empty() && self.received.is_empty() {
            return None;
        }
        let many = self.received.len().min(MAX_ENTRIES);
        let frame = ClientFrame {
            outgoing_messages: chunk.iter().map(QueuedItem::outgoing).collect(),
            consumed_messages: self.received.drain(..many).collect(),
            request: chunk.last().map(|it| it.seq),
        };
        // Numbers and what is JSON already always become JSON.
        let text = serde_json::to_string(&frame).ok();
        self.frames.extend(chunk.last().map(|it| it.seq));
        self.batch.extend(chunk);
        text
    }

    /// The frame with this number was answered: it is safe, or refused for good. Answers come in
    /// order.
    pub(crate) fn concluded(&mut self, request: SenderSeq) {
        while self.batch.front().is_some_and(|it| it.seq <= request) {
            self.batch.pop_front();
        }
        while self.frames.front().is_some_and(|it| *it <= request) {
            self.frames.pop_front();
        }
    }

    /// The number of the frame that is answered next.
    pub(crate) fn first_frame(&self) -> Option<SenderSeq> {
        self.frames.front().copied()
    }

    /// What is under way begins again: its connection ended.
    pub(crate) fn rewind(&mut self) {
        self.frames.clear();
        while let Some(item) = self.batch.pop_back() {
            self.queued.push_front(item);
        }
    }

    /// The request was refused for good: its batch is given up, or everything after it would be
    /// stuck.
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
    fn framed(flow: &mut Flow) -> Option<(Vec<u64>, Vec<i64>)> {
        let text = flow.frame()?;
        let frame: ClientFrame<'_> = serde_json::from_str(&text).unwrap();
        let sent: Vec<u64> = frame.outgoing_messages.iter().map(|it| it.id.unwrap().0).collect();
        assert_eq!(frame.request.map(|it| it.0), sent.last().copied());
        Some((sent, frame.consumed_messages.iter().map(|it| it.get()).collect()))
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

    #[test]
    fn frames_are_under_way_together_and_begin_again_when_the_connection_ends() {
        let mut flow = Flow::from(0);
        for number in 0..3 {
            flow.push("Q", raw("1"));
            assert_eq!(framed(&mut flow), Some((vec![number], vec![])));
        }
        assert_eq!(framed(&mut flow), None);
        assert_eq!(flow.first_frame(), Some(SenderSeq(0)));
        flow.concluded(SenderSeq(0));
        assert!(flow.has_outgoing());
        flow.push("Q", raw("1"));
        flow.rewind();
        assert_eq!(framed(&mut flow), Some((vec![1, 2, 3], vec![])), "and what came later goes along");
        flow.concluded(SenderSeq(3));
        assert!(!flow.has_outgoing() && flow.first_frame().is_none());
    }

    #[test]
    fn what_was_under_way_over_a_stream_goes_out_by_request_and_the_other_way_round() {
        let mut flow = Flow::from(0);
        flow.push("Q", raw("1"));
        flow.push("Q", raw("2"));
        flow.frame().unwrap();
        flow.rewind();
        assert_eq!(numbers(&mut flow), [0, 1]);
        flow.rewind();
        assert_eq!(framed(&mut flow), Some((vec![0, 1], vec![])));
    }

    #[test]
    fn what_arrives_is_acknowledged_when_it_was_handed_on_and_again_when_it_is_repeated() {
        let mut flow = Flow::from(0);
        let nothing_waits = |_| false;
        assert_eq!(flow.arrived(vec![incoming(1), incoming(2)], nothing_waits).len(), 2);
        assert_eq!(framed(&mut flow), None);
        flow.handed(EntryId::from_i64(1).unwrap());
        assert_eq!(framed(&mut flow), Some((vec![], vec![1])));
        // A new stream repeats both: the first is acknowledged again, the second is still to be
        // handed on.
        let fresh = flow.arrived(vec![incoming(1), incoming(2), incoming(3)], |it| it.get() == 2);
        assert_eq!(fresh.iter().map(|it| it.id.get()).collect::<Vec<_>>(), [3]);
        assert_eq!(framed(&mut flow), Some((vec![], vec![1])));
    }

    proptest! {
        #[test]
        fn over_streams_that_break_everything_is_taken_once_and_in_order(
            steps in prop::collection::vec((0usize..4, 0usize..4, any::<bool>()), 1..60),
        ) {
            let mut flow = Flow::from(0);
            // The backend takes what has a greater counter than what it took last; answers may be
            // lost.
            let (mut taken, mut answers) = (Vec::new(), VecDeque::new());
            let mut pushed = 0;
            let most = steps.len();
            let rest = std::iter::repeat_n((0, 4, false), most + 1);
            for (push, answered, breaks) in steps.into_iter().chain(rest) {
                for _ in 0..push {
                    flow.push("Q", raw("1"));
                    pushed += 1;
                }
                while let Some((sent, _)) = framed(&mut flow) {
                    taken.extend(sent.iter().filter(|it| taken.last().is_none_or(|last| last < *it)).copied().collect::<Vec<_>>());
                    answers.extend(sent.last().copied());
                }
                for answer in answers.drain(..answered.min(answers.len())) {
                    flow.concluded(SenderSeq(answer));
                }
                if breaks {
                    answers.clear();
                    flow.rewind();
                }
            }
            prop_assert_eq!(taken, (0..pushed).collect::<Vec<u64>>());
            prop_assert!(!flow.has_outgoing());
        }

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
