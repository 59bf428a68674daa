//! The keyed work queue, on its own and against a model.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use omgservers_core::{Backlog, Clock as _, ManualClock, WorkQueue};
use proptest::prelude::*;

fn queue() -> (ManualClock, WorkQueue<u8>) {
    let clock = ManualClock::default();
    (clock.clone(), WorkQueue::new(Arc::new(clock)))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Whether the worker would be woken.
async fn was_rung(queue: &WorkQueue<u8>) -> bool {
    tokio::time::timeout(Duration::ZERO, queue.doorbell().rung()).await.is_ok()
}

#[test]
fn a_key_that_is_enqueued_several_times_is_taken_once() {
    let (_, queue) = queue();
    queue.enqueue_all([7, 8, 7]);
    queue.enqueue(8);
    assert_eq!(queue.take_due(10), [7, 8]);
    assert!(queue.take_due(10).is_empty());
}

#[test]
fn a_key_that_is_enqueued_while_it_is_processed_comes_again() {
    let (_, queue) = queue();
    queue.enqueue(7);
    assert_eq!(queue.take_due(10), [7]);
    queue.enqueue(7);
    assert_eq!(queue.next_wake(), Some(Duration::ZERO));
    assert_eq!(queue.take_due(10), [7]);
}

#[test]
fn the_earliest_time_wins_and_an_enqueue_overrides_it() {
    let (clock, queue) = queue();
    queue.requeue_after(7, seconds(5));
    queue.requeue_after(7, seconds(9));
    queue.requeue_after(8, seconds(9));
    assert_eq!(queue.next_wake(), Some(seconds(5)));
    clock.advance(seconds(5));
    assert_eq!(queue.take_due(10), [7]);
    assert_eq!(queue.next_wake(), Some(seconds(4)));
    queue.enqueue(8);
    assert_eq!(queue.take_due(10), [8]);
    assert_eq!(queue.next_wake(), None, "the later time is gone with the key");
}

#[test]
fn a_bounded_take_leaves_the_rest_due_at_once() {
    let (_, queue) = queue();
    queue.enqueue_all(0..5);
    assert_eq!(queue.take_due(3), [0, 1, 2]);
    assert_eq!(queue.next_wake(), Some(Duration::ZERO));
    assert_eq!(queue.take_due(3), [3, 4]);
}

#[test]
fn the_backlog_shows_how_long_the_oldest_key_has_been_due() {
    let (clock, queue) = queue();
    queue.enqueue(1);
    queue.requeue_after(2, seconds(3));
    queue.requeue_after(3, seconds(30));
    clock.advance(seconds(10));
    assert_eq!(queue.backlog(), Backlog { due: 2, delayed: 1, oldest: seconds(10) });
    queue.take_due(1);
    assert_eq!(queue.backlog(), Backlog { due: 1, delayed: 1, oldest: seconds(7) });
}

#[tokio::test]
async fn only_what_comes_sooner_than_the_worker_expects_wakes_it() {
    let (_, queue) = queue();
    queue.take_due(10);
    queue.requeue_after(1, seconds(10));
    assert!(!was_rung(&queue).await, "the worker asks for its next wake when its run ends");
    assert_eq!(queue.next_wake(), Some(seconds(10)));
    queue.requeue_after(2, seconds(20));
    assert!(!was_rung(&queue).await);
    queue.requeue_after(3, seconds(5));
    assert!(was_rung(&queue).await);
    queue.enqueue_all([]);
    assert!(!was_rung(&queue).await);
    queue.enqueue(1);
    assert!(was_rung(&queue).await);
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue(u8),
    RequeueAfter(u8, u64),
    Cancel(u8),
    Take(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..6).prop_map(Step::Enqueue),
        (0u8..6, 0u64..50).prop_map(|(key, delay)| Step::RequeueAfter(key, delay)),
        (0u8..6).prop_map(Step::Cancel),
        (0usize..4).prop_map(Step::Take),
        (0u64..30).prop_map(Step::Pass),
    ]
}

/// The same with a map from key to due time and time of arrival, searched from end to end.
#[derive(Default)]
struct Model {
    keys: BTreeMap<u8, (u64, usize)>,
    now: u64,
    arrivals: usize,
}

impl Model {
    fn schedule(&mut self, key: u8, at: u64) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let entry = self.keys.entry(key).or_insert((at, arrival));
        if at < entry.0 {
            *entry = (at, arrival);
        }
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let mut due: Vec<_> = self.keys.iter().filter(|(_, turn)| turn.0 <= self.now).collect();
        due.sort_by_key(|(_, turn)| **turn);
        let taken: Vec<u8> = due.into_iter().map(|(key, _)| *key).take(most).collect();
        self.keys.retain(|key, _| !taken.contains(key));
        taken
    }

    fn next_wake(&self) -> Option<Duration> {
        self.keys.values().map(|turn| Duration::from_millis(turn.0.saturating_sub(self.now))).min()
    }

    fn backlog(&self) -> Backlog {
        let ages = || self.keys.values().filter_map(|turn| self.now.checked_sub(turn.0));
        Backlog {
            due: ages().count(),
            delayed: self.keys.len() - ages().count(),
            oldest: Duration::from_millis(ages().max().unwrap_or(0)),
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_a_search_through_all_keys_does(steps in proptest::collection::vec(step(), 0..80)) {
        let (clock, queue) = queue();
        let mut model = Model { now: clock.ticks().0, ..Model::default() };
        for step in steps {
            match step {
                Step::Enqueue(key) => {
                    queue.enqueue(key);
                    model.schedule(key, model.now);
                }
                Step::RequeueAfter(key, delay) => {
                    queue.requeue_after(key, Duration::from_millis(delay));
                    model.schedule(key, model.now + delay);
                }
                Step::Cancel(key) => {
                    queue.cancel(&key);
                    model.keys.remove(&key);
                }
                Step::Take(most) => prop_assert_eq!(queue.take_due(most), model.take(most)),
                Step::Pass(by) => {
                    clock.advance(Duration::from_millis(by));
                    model.now += by;
                }
            }
            prop_assert_eq!(queue.next_wake(), model.next_wake());
            prop_assert_eq!(queue.backlog(), model.backlog());
        }
    }
}
