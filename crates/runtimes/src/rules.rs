//! The life of a runtime as a pure function of its desired state, its observed state and the time.
//! The health of a host is a function of its answers.

use std::time::Duration;

use omgservers_core::{Backoff, Ticks};

use crate::host::ContainerStatus;

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
pub enum HostHealth {
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
    pub health: HostHealth,
    /// The state of its present attempt's container; `None` until the host has listed its
    /// containers.
    pub status: Option<ContainerStatus>,
}

/// The next step for a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeStep {
    /// Nothing.
    Rest,
    /// Nothing before this.
    Wait(Ticks),
    /// Begin an attempt: a host, a new epoch, a new password.
    Begin,
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
pub fn next(life: Life, view: View, now: Ticks) -> RuntimeStep {
    let lost = view.health == HostHealth::Lost;
    match (life.desired, life.observed) {
        (Desired::Stop, _) if !life.placed || lost => RuntimeStep::Delete,
        (Desired::Stop, _) => RuntimeStep::Remove,
        (Desired::Run, Observed::Failed) => RuntimeStep::Rest,
        (Desired::Run, Observed::Running) => match view.status {
            _ if lost => RuntimeStep::Fail(HOST_LOST),
            Some(ContainerStatus::Ended | ContainerStatus::Gone | ContainerStatus::Created)
                if view.health == HostHealth::Up =>
            {
                RuntimeStep::Inspect
            }
            _ => RuntimeStep::Rest,
        },
        (Desired::Run, Observed::Pending) if !life.placed => {
            if life.unschedulable || now >= life.not_before {
                RuntimeStep::Begin
            } else {
                RuntimeStep::Wait(life.not_before)
            }
        }
        (Desired::Run, Observed::Pending) => match view.status {
            // Whether it ran isn't known. If it did, its game server may have got what another one
            // would miss.
            _ if lost => RuntimeStep::Fail(HOST_LOST),
            _ if view.health != HostHealth::Up => RuntimeStep::Rest,
            None => RuntimeStep::Rest,
            Some(ContainerStatus::Running) => RuntimeStep::Adopt,
            Some(ContainerStatus::Ended) => RuntimeStep::Inspect,
            Some(ContainerStatus::Created) => RuntimeStep::RemoveUnstarted,
            Some(ContainerStatus::Gone) => RuntimeStep::Fail(INTERRUPTED),
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
    answered: Ticks,
    misses: u32,
    missed: Ticks,
}

impl Pulse {
    /// Makes the pulse of a host that is new now.
    pub fn new(now: Ticks) -> Self {
        Self { known: false, answered: now, misses: 0, missed: Ticks(0) }
    }

    /// It answered.
    pub fn answered(&mut self, now: Ticks) {
        *self = Self { known: true, answered: now, misses: 0, missed: now };
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
    pub fn health(&self, now: Ticks, lost_after: Duration) -> HostHealth {
        // Time alone makes nothing lost: this process itself may have slept.
        match (self.misses >= SUSPECT_AFTER, now.since(self.answered) >= lost_after, self.known) {
            (true, true, _) => HostHealth::Lost,
            (_, _, false) => HostHealth::Unknown,
            (true, false, true) => HostHealth::Suspect,
            (false, _, true) => HostHealth::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    const DESIRED: [Desired; 2] = [Desired::Run, Desired::Stop];
    const STATUS: [Option<ContainerStatus>; 5] = [
        None,
        Some(ContainerStatus::Created),
        Some(ContainerStatus::Running),
        Some(ContainerStatus::Ended),
        Some(ContainerStatus::Gone),
    ];
    const HEALTH: [HostHealth; 4] =
        [HostHealth::Unknown, HostHealth::Up, HostHealth::Suspect, HostHealth::Lost];

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

    /// A fixture of one runtime on one host, where every step succeeds unless `trouble` says
    /// otherwise.
    struct Fixture {
        life: Life,
        view: View,
        container: ContainerStatus,
        now: Ticks,
        deleted: bool,
        starts: u32,
    }

    impl Fixture {
        fn take(&mut self, step: RuntimeStep, start_fails: bool) {
            match step {
                RuntimeStep::Rest | RuntimeStep::Wait(_) => {}
                RuntimeStep::Begin => {
                    assert_ne!(
                        self.container,
                        ContainerStatus::Running,
                        "a second container for one runtime"
                    );
                    self.starts += 1;
                    if start_fails {
                        self.life.not_before = self.now.plus(RETRY.after(self.starts));
                        self.life.unschedulable = false;
                    } else {
                        (self.life.placed, self.container) = (true, ContainerStatus::Running);
                        self.life.observed = Observed::Running;
                    }
                }
                RuntimeStep::Inspect => match self.container {
                    ContainerStatus::Running => {}
                    ContainerStatus::Created | ContainerStatus::Ended | ContainerStatus::Gone => {
                        (self.life.observed, self.life.placed) = (Observed::Failed, false);
                    }
                },
                RuntimeStep::Adopt => self.life.observed = Observed::Running,
                RuntimeStep::RemoveUnstarted => {
                    (self.container, self.life.placed) = (ContainerStatus::Gone, false)
                }
                RuntimeStep::Fail(_) => (self.life.observed, self.life.placed) = (Observed::Failed, false),
                RuntimeStep::Remove => {
                    self.container = ContainerStatus::Gone;
                    self.life.placed = false;
                }
                RuntimeStep::Delete => self.deleted = true,
            }
            if self.view.health == HostHealth::Up {
                self.view.status = Some(self.container);
            }
        }
    }

    proptest! {
        #[test]
        fn what_should_stop_is_never_started(life in any_life(), view in any_view(), now in 0u64..200) {
            let step = next(Life { desired: Desired::Stop, ..life }, view, Ticks(now));
            prop_assert!(matches!(step, RuntimeStep::Remove | RuntimeStep::Delete), "{:?}", step);
        }

        #[test]
        fn an_attempt_begins_only_when_no_other_holds_a_host(life in any_life(), view in any_view(), now in 0u64..200) {
            if next(life, view, Ticks(now)) == RuntimeStep::Begin {
                prop_assert!(!life.placed && life.desired == Desired::Run && life.observed == Observed::Pending);
                prop_assert!(life.unschedulable || now >= life.not_before.0);
            }
        }

        #[test]
        fn an_attempt_that_may_have_run_is_the_last(life in any_life(), view in any_view(), now in 0u64..200) {
            let life = Life { desired: Desired::Run, placed: true, ..life };
            // What gives the host back for another attempt needs a container that was made and
            // never ran.
            if next(life, view, Ticks(now)) == RuntimeStep::RemoveUnstarted {
                prop_assert_eq!((life.observed, view.status), (Observed::Pending, Some(ContainerStatus::Created)));
            }
        }

        #[test]
        fn nothing_that_runs_is_touched(life in any_life(), health in select(&HEALTH[..3]), now in 0u64..200) {
            let life = Life { desired: Desired::Run, observed: Observed::Running, placed: true, ..life };
            prop_assert_eq!(next(life, View { health, status: Some(ContainerStatus::Running) }, Ticks(now)), RuntimeStep::Rest);
        }

        #[test]
        fn nothing_is_concluded_from_a_host_that_does_not_answer(life in any_life(), status in select(&STATUS[..]), now in 0u64..200) {
            for health in [HostHealth::Unknown, HostHealth::Suspect] {
                let step = next(life, View { health, status }, Ticks(now));
                prop_assert!(!matches!(step, RuntimeStep::Inspect | RuntimeStep::Fail(_) | RuntimeStep::Adopt | RuntimeStep::RemoveUnstarted), "{:?}", step);
            }
        }

        #[test]
        fn every_story_comes_to_the_wished_end(
            life in any_life(), container in select(&[ContainerStatus::Created, ContainerStatus::Running, ContainerStatus::Ended, ContainerStatus::Gone][..]),
            troubles in proptest::collection::vec(any::<bool>(), 0..6), lost in any::<bool>(),
        ) {
            // A container belongs to an attempt; without one there is none.
            let container = if life.placed { container } else { ContainerStatus::Gone };
            let view = View { health: if lost { HostHealth::Lost } else { HostHealth::Up }, status: Some(container) };
            let mut fixture = Fixture { life, view, container, now: Ticks(100), deleted: false, starts: 0 };
            if lost {
                fixture.container = ContainerStatus::Gone;
            }
            let mut troubles = troubles.into_iter();
            for _ in 0..40 {
                match next(fixture.life, fixture.view, fixture.now) {
                    RuntimeStep::Wait(until) => fixture.now = until,
                    step => {
                        let fails = step == RuntimeStep::Begin && troubles.next().unwrap_or(false);
                        fixture.take(step, fails);
                        // Another host takes it.
                        if !fixture.life.placed {
                            fixture.view.health = HostHealth::Up;
                        }
                    }
                }
                if fixture.deleted {
                    break;
                }
            }
            match life.desired {
                Desired::Stop => prop_assert!(fixture.deleted && (lost || fixture.container == ContainerStatus::Gone)),
                Desired::Run => {
                    prop_assert!(!fixture.deleted);
                    let ended = matches!(fixture.life.observed, Observed::Running | Observed::Failed);
                    prop_assert!(ended, "{:?}", fixture.life);
                    if fixture.life.observed == Observed::Running {
                        prop_assert_eq!(fixture.container, ContainerStatus::Running);
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
        assert_eq!(pulse.health(Ticks(0), lost_after), HostHealth::Unknown);
        pulse.answered(Ticks(1_000));
        for (at, health) in [(3_000, HostHealth::Up), (5_000, HostHealth::Up), (7_000, HostHealth::Suspect)] {
            pulse.silent(Ticks(at));
            assert_eq!(pulse.health(Ticks(at), lost_after), health, "{at}");
        }
        assert_eq!(pulse.health(Ticks(30_999), lost_after), HostHealth::Suspect);
        assert_eq!(pulse.health(Ticks(31_000), lost_after), HostHealth::Lost);
        pulse.answered(Ticks(40_000));
        assert_eq!(pulse.health(Ticks(90_000), lost_after), HostHealth::Up, "time alone makes nothing lost");
    }

    #[test]
    fn misses_of_one_moment_count_once() {
        let mut pulse = Pulse::new(Ticks(0));
        pulse.answered(Ticks(0));
        for _ in 0..10 {
            pulse.silent(Ticks(5_000));
        }
        assert_eq!(pulse.health(Ticks(5_000), Duration::from_secs(30)), HostHealth::Up);
    }
}
