//! Queue of one receiver, and which frame is dropped when it is full. Pure.

use std::collections::VecDeque;

use omgservers_ws::FrameKind;

use crate::bounds::QueueLimit;

/// Element of a queue.
pub(crate) trait QueueItem {
    /// Returns its type: a full queue drops binary frames for newer ones and keeps texts.
    fn kind(&self) -> FrameKind;
    /// Returns how many bytes it holds.
    fn size(&self) -> usize;
}

/// Frames in their order, in two lanes. The lanes make the oldest binary frame cheap to find.
#[derive(Debug)]
pub(crate) struct FrameQueue<T> {
    text: VecDeque<(u64, T)>,
    binary: VecDeque<(u64, T)>,
    bytes: usize,
    next: u64,
}

/// Outcome of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The frame is queued; so many older binary frames were dropped for it.
    Queued(usize),
    /// The binary frame was dropped, and so many older ones.
    Dropped(usize),
    /// The text doesn't fit even without binary frames, of which so many were dropped.
    Full(usize),
}

/// Capacity that an empty lane keeps, frames. More would be memory that a burst leaves behind.
const KEPT_CAPACITY: usize = 16;

impl<T> Default for FrameQueue<T> {
    fn default() -> Self {
        Self { text: VecDeque::new(), binary: VecDeque::new(), bytes: 0, next: 0 }
    }
}

impl<T: QueueItem> FrameQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.text.len().saturating_add(self.binary.len())
    }

    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a frame.
    pub(crate) fn push(&mut self, item: T, limit: QueueLimit) -> Pushed {
        let mut dropped: usize = 0;
        while !self.fits(item.size(), limit) {
            let Some((_, old)) = self.binary.pop_front() else {
                return match item.kind() {
                    FrameKind::Text => Pushed::Full(dropped),
                    FrameKind::Binary => Pushed::Dropped(dropped),
                };
            };
            self.bytes = self.bytes.saturating_sub(old.size());
            dropped = dropped.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(item.size());
        let lane = match item.kind() {
            FrameKind::Text => &mut self.text,
            FrameKind::Binary => &mut self.binary,
        };
        lane.push_back((self.next, item));
        self.next = self.next.wrapping_add(1);
        Pushed::Queued(dropped)
    }

    fn fits(&self, bytes: usize, limit: QueueLimit) -> bool {
        limit.fits(self.len(), self.bytes, bytes)
    }

    /// Whether at least half of the queue is free.
    pub(crate) fn is_half_free(&self, limit: QueueLimit) -> bool {
        limit.is_half_free(self.len(), self.bytes)
    }

    /// Whether the oldest frame is a binary one.
    fn is_binary_first(&self) -> bool {
        let at = |lane: &VecDeque<(u64, T)>| lane.front().map(|it| it.0);
        match (at(&self.text), at(&self.binary)) {
            (Some(text), Some(binary)) => binary < text,
            (text, _) => text.is_none(),
        }
    }

    /// Returns the oldest frame.
    pub(crate) fn first(&self) -> Option<&T> {
        let lane = if self.is_binary_first() { &self.binary } else { &self.text };
        lane.front().map(|it| &it.1)
    }

    /// Removes the oldest frame.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let lane = if self.is_binary_first() { &mut self.binary } else { &mut self.text };
        let (_, item) = lane.pop_front()?;
        if lane.is_empty() && lane.capacity() > KEPT_CAPACITY {
            *lane = VecDeque::new();
        }
        self.bytes = self.bytes.saturating_sub(item.size());
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Item(usize, FrameKind, usize);

    impl QueueItem for Item {
        fn kind(&self) -> FrameKind {
            self.1
        }
        fn size(&self) -> usize {
            self.2
        }
    }

    fn drain(queue: &mut FrameQueue<Item>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|it| it.0).collect()
    }

    #[test]
    fn the_latest_binary_frames_and_all_text_stay() {
        let limit = QueueLimit { frames: 4, bytes: 100 };
        let mut queue = FrameQueue::default();
        for at in 0..3 {
            assert_eq!(queue.push(Item(at, FrameKind::Binary, 10), limit), Pushed::Queued(0));
        }
        assert_eq!(queue.push(Item(3, FrameKind::Text, 10), limit), Pushed::Queued(0));
        assert_eq!(queue.push(Item(4, FrameKind::Text, 10), limit), Pushed::Queued(1));
        assert_eq!(queue.push(Item(5, FrameKind::Binary, 75), limit), Pushed::Queued(2), "by bytes");
        assert_eq!(queue.push(Item(6, FrameKind::Text, 80), limit), Pushed::Queued(1));
        assert_eq!(queue.push(Item(7, FrameKind::Binary, 1), limit), Pushed::Dropped(0));
        assert_eq!(queue.push(Item(8, FrameKind::Text, 1), limit), Pushed::Full(0));
        assert_eq!(drain(&mut queue), [3, 4, 6]);
    }

    #[test]
    fn one_frame_fits_however_large_it_is_and_a_burst_leaves_no_memory_behind() {
        let limit = QueueLimit { frames: 1_000, bytes: 1_000 };
        let mut queue = FrameQueue::default();
        assert_eq!(queue.push(Item(0, FrameKind::Text, 5_000), limit), Pushed::Queued(0));
        assert_eq!(queue.push(Item(1, FrameKind::Text, 1), limit), Pushed::Full(0));
        assert_eq!(drain(&mut queue), [0]);
        for at in 0..500 {
            queue.push(Item(at, FrameKind::Binary, 1), limit);
        }
        assert_eq!(drain(&mut queue).len(), 500);
        assert_eq!((queue.bytes, queue.binary.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn bounds_hold_order_stays_and_only_binary_frames_are_lost(
            steps in prop::collection::vec((any::<bool>(), 0usize..40, any::<bool>()), 0..120),
            frames in 1usize..12,
            bytes in 1usize..120,
        ) {
            let limit = QueueLimit { frames, bytes };
            let mut queue = FrameQueue::default();
            let (mut out, mut lost, mut refused) = (Vec::new(), 0, Vec::new());
            for (at, (is_text, size, pop)) in steps.iter().enumerate() {
                let kind = if *is_text { FrameKind::Text } else { FrameKind::Binary };
                match queue.push(Item(at, kind, *size), limit) {
                    Pushed::Queued(dropped) => lost += dropped,
                    Pushed::Dropped(dropped) => {
                        prop_assert_eq!(kind, FrameKind::Binary);
                        lost += dropped + 1;
                    }
                    Pushed::Full(dropped) => {
                        prop_assert_eq!(kind, FrameKind::Text);
                        lost += dropped;
                        refused.push(at);
                    }
                }
                prop_assert!(queue.len() == 1 || (queue.len() <= frames && queue.bytes <= bytes));
                if *pop {
                    let first = queue.first().copied();
                    prop_assert_eq!(queue.pop(), first);
                    out.extend(first.map(|it| it.0));
                }
            }
            out.extend(drain(&mut queue));
            prop_assert!(out.is_sorted());
            prop_assert_eq!(out.len() + lost + refused.len(), steps.len());
            let texts = steps.iter().enumerate().filter(|(at, it)| it.0 && !refused.contains(at));
            prop_assert!(texts.map(|it| it.0).all(|it| out.contains(&it)), "a text that was taken is lost");
        }
    }
}
