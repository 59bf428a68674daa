//! What waits for one receiver, and what goes when there is no room. Pure.

use std::collections::VecDeque;

use crate::{bounds::Room, wire::Kind};

/// Something that waits.
pub(crate) trait Waiting {
    /// Binary gives way to what is newer; text stays.
    fn kind(&self) -> Kind;
    /// Bytes that it holds.
    fn size(&self) -> usize;
}

/// Frames in their order. There are two lanes, so that the oldest binary frame is found at once.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    text: VecDeque<(u64, T)>,
    binary: VecDeque<(u64, T)>,
    bytes: usize,
    next: u64,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits; so many older binary frames were dropped for it.
    Taken(usize),
    /// It is binary, and there was no room: it was dropped, and so many older ones.
    Dropped(usize),
    /// It is text, and there was no room even without binary frames, of which so many were dropped.
    Full(usize),
}

/// An emptied lane keeps room for this many frames: more would be memory that a burst leaves behind.
const KEPT_ROOM: usize = 16;

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { text: VecDeque::new(), binary: VecDeque::new(), bytes: 0, next: 0 }
    }
}

impl<T: Waiting> Queue<T> {
    pub(crate) fn len(&self) -> usize {
        self.text.len().saturating_add(self.binary.len())
    }

    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a frame at the end.
    pub(crate) fn push(&mut self, item: T, room: Room) -> Pushed {
        let mut dropped: usize = 0;
        while !self.fits(item.size(), room) {
            let Some((_, old)) = self.binary.pop_front() else {
                return match item.kind() {
                    Kind::Text => Pushed::Full(dropped),
                    Kind::Binary => Pushed::Dropped(dropped),
                };
            };
            self.bytes = self.bytes.saturating_sub(old.size());
            dropped = dropped.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(item.size());
        let lane = match item.kind() {
            Kind::Text => &mut self.text,
            Kind::Binary => &mut self.binary,
        };
        lane.push_back((self.next, item));
        self.next = self.next.wrapping_add(1);
        Pushed::Taken(dropped)
    }

    fn fits(&self, bytes: usize, room: Room) -> bool {
        room.fits(self.len(), self.bytes, bytes)
    }

    /// Whether at least half of the room is free.
    pub(crate) fn is_roomy(&self, room: Room) -> bool {
        room.is_roomy(self.len(), self.bytes)
    }

    /// Whether the oldest frame is a binary one.
    fn is_binary_first(&self) -> bool {
        let at = |lane: &VecDeque<(u64, T)>| lane.front().map(|it| it.0);
        match (at(&self.text), at(&self.binary)) {
            (Some(text), Some(binary)) => binary < text,
            (text, _) => text.is_none(),
        }
    }

    /// The oldest frame.
    pub(crate) fn first(&self) -> Option<&T> {
        let lane = if self.is_binary_first() { &self.binary } else { &self.text };
        lane.front().map(|it| &it.1)
    }

    /// Takes the oldest frame out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let lane = if self.is_binary_first() { &mut self.binary } else { &mut self.text };
        let (_, item) = lane.pop_front()?;
        if lane.is_empty() && lane.capacity() > KEPT_ROOM {
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
    struct It(usize, Kind, usize);

    impl Waiting for It {
        fn kind(&self) -> Kind {
            self.1
        }
        fn size(&self) -> usize {
            self.2
        }
    }

    fn drain(queue: &mut Queue<It>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|it| it.0).collect()
    }

    #[test]
    fn the_latest_binary_frames_and_all_text_stay() {
        let room = Room { frames: 4, bytes: 100 };
        let mut queue = Queue::default();
        for at in 0..3 {
            assert_eq!(queue.push(It(at, Kind::Binary, 10), room), Pushed::Taken(0));
        }
        assert_eq!(queue.push(It(3, Kind::Text, 10), room), Pushed::Taken(0));
        assert_eq!(queue.push(It(4, Kind::Text, 10), room), Pushed::Taken(1));
        assert_eq!(queue.push(It(5, Kind::Binary, 75), room), Pushed::Taken(2), "by bytes");
        assert_eq!(queue.push(It(6, Kind::Text, 80), room), Pushed::Taken(1));
        assert_eq!(queue.push(It(7, Kind::Binary, 1), room), Pushed::Dropped(0));
        assert_eq!(queue.push(It(8, Kind::Text, 1), room), Pushed::Full(0));
        assert_eq!(drain(&mut queue), [3, 4, 6]);
    }

    #[test]
    fn one_frame_fits_however_large_it_is_and_a_burst_leaves_no_memory_behind() {
        let room = Room { frames: 1_000, bytes: 1_000 };
        let mut queue = Queue::default();
        assert_eq!(queue.push(It(0, Kind::Text, 5_000), room), Pushed::Taken(0));
        assert_eq!(queue.push(It(1, Kind::Text, 1), room), Pushed::Full(0));
        assert_eq!(drain(&mut queue), [0]);
        for at in 0..500 {
            queue.push(It(at, Kind::Binary, 1), room);
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
            let room = Room { frames, bytes };
            let mut queue = Queue::default();
            let (mut out, mut lost, mut refused) = (Vec::new(), 0, Vec::new());
            for (at, (is_text, size, pop)) in steps.iter().enumerate() {
                let kind = if *is_text { Kind::Text } else { Kind::Binary };
                match queue.push(It(at, kind, *size), room) {
                    Pushed::Taken(dropped) => lost += dropped,
                    Pushed::Dropped(dropped) => {
                        prop_assert_eq!(kind, Kind::Binary);
                        lost += dropped + 1;
                    }
                    Pushed::Full(dropped) => {
                        prop_assert_eq!(kind, Kind::Text);
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
