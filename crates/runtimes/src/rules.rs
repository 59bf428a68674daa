//! The life of a runtime as a pure function of its desired state, its observed state and the time;
//! and the health of a host as a function of its answers.

use std::time::Duration;

use omgservers_core::{Backoff, Ticks};

use crate::host::Status;

/// The desired state, which the service writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    /// It should run.
    Run,
    /// It should stop.
    Stop,
}

/// The observed state, which the reconciler writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// It has not run yet.
    Pending,
    /// It runs.
    Running,
    /// It ended by itself.
    Failed,
}

/// A runtime as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The desired state.
    pub desired: Desired,
    /// The recorded state.
    pub observed: Observed,
    /// Whether an attempt holds a host. A running one does.
    pub placed: bool,
    /// No attempt before this.
    pub not_before: Ticks,
    /// The last attempt failed because no host had the capacity: the next one may begin before its
    /// time when a host has it.
    pub unschedulable: bool,
}

/// Whether a host can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It hasn't answered yet.
    Unknown,
    /// It answers.
    Up,
    /// It missed three answers: it gets no new container.
    Suspect,
    /// It has not answered for so long that its containers count as gone.
    Lost,
}

/// What the reconciler knows of a runtime's host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The health of its host.
    pub health: Health,
    /// The state of its present attempt's container; `None` until the host has listed its
    /// containers.
    pub status: Option<Status>,
}

/// The next step for a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Nothing before this.
    Wait(Ticks),
    /// Begin an attempt: a host, a new epoch, a new password.
    Place,
    /// Inspect its container: a hint says that it has ended.
    Inspect,
    /// Record that it runs.
    Adopt,
    /// Remove the container of an interrupted attempt, which never ran; then another attempt
    /// follows.
    RemoveUnstarted,
    /// Record that it came to an end.
    Fail(&'static str),
    /// Stop and remove its container.
    Remove,
    /// Forget it: it is stopped and nothing is there of it.
    Delete,
}

/// The reason that is recorded when a host is lost.
pub const HOST_LOST: &str = "host lost: the Docker host doesn't answer any more";

/// The reason that is recorded when an attempt was interrupted at an unknown point.
pub const INTERRUPTED: &str = "the start was interrupted, and its container isn't there";

/// Decides the next step for a runtime for which no operation is under way.
pub fn next(life: Life, view: View, now: Ticks) -> Step {
    let lost = view.health == Health::Lost;
    match (life.desired, life.observed) {
        (Desired::Stop, _) if !life.placed || lost => Step::Delete,
        (Desired::Stop, _) => Step::Remove,
        (Desired::Run, Observed::Failed) => Step::Rest,
        (Desired::Run, Observed::Running) => match view.status {
            _ if lost => Step::Fail(HOST_LOST),
            Some(Status::Ended | Status::Gone | Status::Created) if view.health == Health::Up => {
                Step::Inspect
            }
            _ => Step::Rest,
        },
        (Desired::Run, Observed::Pending) if !life.placed => {
            if life.unschedulable || now >= life.not_before {
                Step::Place
            } else {
                Step::Wait(life.not_before)
            }
        }
        (Desired::Run, Observed::Pending) => match view.status {
            // Whether it ran isn't known. If it did, its game server may have got what another one
            // would miss.
            _ if lost => Step::Fail(HOST_LOST),
            _ if view.health != Health::Up => Step::Rest,
            None => Step::Rest,
            Some(Status::Running) => Step::Adopt,
            Some(Status::Ended) => Step::Inspect,
            Some(Status::Created) => Step::RemoveUnstarted,
            Some(Status::Gone) => Step::Fail(INTERRUPTED),
        },
    }
}

/// The pauses between attempts that fail, and between operations with a container that fail.
pub const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// A host that misses this many answers gets nothing new.
const SUSPECT_AFTER: u32 = 3;

/// Misses that are closer together count as one.
const MISS_APART: Duration = Duration::from_secs(1);

/// The answers of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    known: bool,
    heard: Ticks,
    misses: u32,
    missed: Ticks,
}

impl Pulse {
    /// Makes the pulse of a host that is new now.
    pub fn new(now: Ticks) -> Self {
        Self { known: false, heard: now, misses: 0, missed: Ticks(0) }
    }

    /// It answered.
    pub fn answered(&mut self, now: Ticks) {
        *self = Self { known: true, heard: now, misses: 0, missed: now };
    }

    /// It didn't answer.
    pub fn silent(&mut self, now: Ticks) {
        if self.misses == 0 || now.since(self.missed) >= MISS_APART {
            self.misses = self.misses.saturating_add(1);
            self.missed = now;
        }
    }

    /// Whether it left the last question unanswered.
    pub fn is_missing(&self) -> bool {
        self.misses > 0
    }

    /// How it is.
    pub fn health(&self, now: Ticks, lost_after: Duration) -> Health {
        // Time alone makes nothing lost: this process itself may have slept.
        match (self.misses >= SUSPECT_AFTER, now.since(self.heard) >= lost_after, self.known) {
            (true, true, _) => Health::Lost,
            (_, _, false) => Health::Unknown,
            (true, false, true) => Health::Suspect,
            (false, _, true) => Health::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    const DESIRED: [Desired; 2] = [Desired::Run, Desired::Stop];
    const STATUS: [Option<Status>; 5] =
        [None, Some(Status::Created), Some(Status::Running), Some(Status::Ended), Some(Status::Gone)];
    const HEALTH: [Health; 4] = [Health::Unknown, Health::Up, Health::Suspect, Health::Lost];

    prop_compose! {
        fn any_life()(
            desired in select(&DESIRED[..]),
            observed in select(&[Observed::Pending, Observed::Running, Observed::Failed][..]),
            placed in any::<bool>(), not_before in 0u64..100, unschedulable in any::<bool>(),
        ) -> Life {
            // The recorder keeps this: what runs has a host, what failed has none.
            let placed = match observed {
                Observed::Pending => placed,
                Observed::Running => true,
                Observed::Failed => false,
            };
            Life { desired, observed, placed, not_before: Ticks(not_before), unschedulable }
        }
    }

    prop_compose! {
        fn any_view()(health in select(&HEALTH[..]), status in select(&STATUS[..])) -> View {
            View { health, status }
        }
    }

    /// A world of one runtime on one host, where every step succeeds unless `trouble` says
    /// otherwise.
    struct World {
        life: Life,
        view: View,
        container: Status,
        now: Ticks,
        deleted: bool,
        starts: u32,
    }

    impl World {
        fn take(&mut self, step: Step, start_fails: bool) {
            match step {
                Step::Rest | Step::Wait(_) => {}
                Step::Place => {
                    assert_ne!(self.container, Status::Running, "a second container for one runtime");
                    self.starts += 1;
                    if start_fails {
                        self.life.not_before = self.now.plus(RETRY.after(self.starts));
                        self.life.unschedulable = false;
                    } else {
                        (self.life.placed, self.container) = (true, Status::Running);
                        self.life.observed = Observed::Running;
                    }
                }
                Step::Inspect => match self.container {
                    Status::Running => {}
                    Status::Created | Status::Ended | Status::Gone => {
                        (self.life.observed, self.life.placed) = (Observed::Failed, false);
                    }
                },
                Step::Adopt => self.life.observed = Observed::Running,
                Step::RemoveUnstarted => (self.container, self.life.placed) = (Status::Gone, false),
                Step::Fail(_) => (self.life.observed, self.life.placed) = (Observed::Failed, false),
                Step::Remove => {
                    self.container = Status::Gone;
                    self.life.placed = false;
                }
                Step::Delete => self.deleted = true,
            }
            if self.view.health == Health::Up {
                self.view.status = Some(self.container);
            }
        }
    }

    proptest! {
        #[test]
        fn what_should_stop_is_never_started(life in any_life(), view in any_view(), now in 0u64..200) {
            let step = next(Life { desired: Desired::Stop, ..life }, view, Ticks(now));
            prop_assert!(matches!(step, Step::Remove | Step::Delete), "{:?}", step);
        }

        #[test]
        fn an_attempt_begins_only_when_no_other_holds_a_host(life in any_life(), view in any_view(), now in 0u64..200) {
            if next(life, view, Ticks(now)) == Step::Place {
                prop_assert!(!life.placed && life.desired == Desired::Run && life.observed == Observed::Pending);
                prop_assert!(life.unschedulable || now >= life.not_before.0);
            }
        }

        #[test]
        fn an_attempt_that_may_have_run_is_the_last(life in any_life(), view in any_view(), now in 0u64..200) {
            let life = Life { desired: Desired::Run, placed: true, ..life };
            // What gives the host back for another attempt needs a container that was made and
            // never ran.
            if next(life, view, Ticks(now)) == Step::RemoveUnstarted {
                prop_assert_eq!((life.observed, view.status), (Observed::Pending, Some(Status::Created)));
            }
        }

        #[test]
        fn nothing_that_runs_is_touched(life in any_life(), health in select(&HEALTH[..3]), now in 0u64..200) {
            let life = Life { desired: Desired::Run, observed: Observed::Running, placed: true, ..life };
            prop_assert_eq!(next(life, View { health, status: Some(Status::Running) }, Ticks(now)), Step::Rest);
        }

        #[test]
        fn nothing_is_concluded_from_a_host_that_does_not_answer(life in any_life(), status in select(&STATUS[..]), now in 0u64..200) {
            for health in [Health::Unknown, Health::Suspect] {
                let step = next(life, View { health, status }, Ticks(now));
                prop_assert!(!matches!(step, Step::Inspect | Step::Fail(_) | Step::Adopt | Step::RemoveUnstarted), "{:?}", step);
            }
        }

        #[test]
        fn every_story_comes_to_the_wished_end(
            life in any_life(), container in select(&[Status::Created, Status::Running, Status::Ended, Status::Gone][..]),
            troubles in proptest::collection::vec(any::<bool>(), 0..6), lost in any::<bool>(),
        ) {
            // A container belongs to an attempt; without one there is none.
            let container = if life.placed { container } else { Status::Gone };
            let view = View { health: if lost { Health::Lost } else { Health::Up }, status: Some(container) };
            let mut world = World { life, view, container, now: Ticks(100), deleted: false, starts: 0 };
            if lost {
                world.container = Status::Gone;
            }
            let mut troubles = troubles.into_iter();
            for _ in 0..40 {
                match next(world.life, world.view, world.now) {
                    Step::Wait(until) => world.now = until,
                    step => {
                        let fails = step == Step::Place && troubles.next().unwrap_or(false);
                        world.take(step, fails);
                        // Another host takes it.
                        if !world.life.placed {
                            world.view.health = Health::Up;
                        }
                    }
                }
                if world.deleted {
                    break;
                }
            }
            match life.desired {
                Desired::Stop => prop_assert!(world.deleted && (lost || world.container == Status::Gone)),
                Desired::Run => {
                    prop_assert!(!world.deleted);
                    let ended = matches!(world.life.observed, Observed::Running | Observed::Failed);
                    prop_assert!(ended, "{:?}", world.life);
                    if world.life.observed == Observed::Running {
                        prop_assert_eq!(world.container, Status::Running);
                    }
                }
            }
        }

    }

    #[test]
    fn retries_begin_after_a_second_and_come_within_a_minute() {
        assert_eq!([1, 2, 3, 4, 7].map(|it| RETRY.after(it).as_secs()), [1, 2, 4, 8, 60]);
    }

    #[test]
    fn three_misses_make_a_host_suspect_and_thirty_seconds_make_it_lost() {
        let lost_after = Duration::from_secs(30);
        let mut pulse = Pulse::new(Ticks(0));
        assert_eq!(pulse.health(Ticks(0), lost_after), Health::Unknown);
        pulse.answered(Ticks(1_000));
        for (at, health) in [(3_000, Health::Up), (5_000, Health::Up), (7_000, Health::Suspect)] {
            pulse.silent(Ticks(at));
            assert_eq!(pulse.health(Ticks(at), lost_after), health, "{at}");
        }
        assert_eq!(pulse.health(Ticks(30_999), lost_after), Health::Suspect);
        assert_eq!(pulse.health(Ticks(31_000), lost_after), Health::Lost);
        pulse.answered(Ticks(40_000));
        assert_eq!(pulse.health(Ticks(90_000), lost_after), Health::Up, "time alone makes nothing lost");
    }

    #[test]
    fn misses_of_one_moment_count_once() {
        let mut pulse = Pulse::new(Ticks(0));
        pulse.answered(Ticks(0));
        for _ in 0..10 {
            pulse.silent(Ticks(5_000));
        }
        assert_eq!(pulse.health(Ticks(5_000), Duration::from_secs(30)), Health::Up);
    }
}
