//! Units that wait for one of a number of workers.

use std::{cell::RefCell, collections::VecDeque, time::Instant};

use tokio::sync::Notify;

/// The moments at which units should have begun, oldest first.
#[derive(Default)]
pub(super) struct WaitingUnits {
    waiting: RefCell<VecDeque<Instant>>,
    ring: Notify,
}

impl WaitingUnits {
    pub(super) fn push(&self, at: Instant) {
        self.waiting.borrow_mut().push_back(at);
        self.ring.notify_one();
    }

    /// The next unit.
    pub(super) async fn next(&self) -> Instant {
        loop {
            if let Some(at) = self.waiting.borrow_mut().pop_front() {
                return at;
            }
            self.ring.notified().await;
        }
    }

    pub(super) fn clear(&self) {
        self.waiting.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn every_unit_gets_a_worker_in_its_turn() {
        let (pool, taken) = (Rc::new(WaitingUnits::default()), Rc::new(RefCell::new(Vec::new())));
        let local = tokio::task::LocalSet::new();
        for _ in 0..3 {
            let (pool, taken) = (Rc::clone(&pool), Rc::clone(&taken));
            local.spawn_local(async move {
                loop {
                    let at = pool.next().await;
                    taken.borrow_mut().push(at);
                    tokio::task::yield_now().await;
                }
            });
        }
        let begun = Instant::now();
        let units: Vec<_> = (0..50).map(|it| begun + std::time::Duration::from_millis(it)).collect();
        let pushed = units.clone();
        local
            .run_until(async move {
                for at in pushed {
                    pool.push(at);
                }
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert_eq!(*taken.borrow(), units);
    }
}
