//! Random wishes, faults of the host and faults of the database; when it is quiet again, everything
//! must be as it was wished.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use omgservers_api::RuntimeId;
use omgservers_core::{Worker as _, db::Fault as DbFault};
use omgservers_runtimes::{
    NewRuntime, RuntimeState, Runtimes as _,
    host::{
        Exit,
        fake::{HostCall, HostFault},
    },
};

use crate::fixture::Fixture;

/// A small generator of our own: the same seed makes the same story.
struct Rng(AtomicU64);

impl Rng {
    fn roll(&self, sides: u64) -> u64 {
        let mut x = self.0.load(Ordering::SeqCst);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.store(x, Ordering::SeqCst);
        x % sides
    }
}

async fn story(seed: u64) {
    let mut fixture = Fixture::new().await;
    let rng = Arc::new(Rng(AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)));
    let trouble = Arc::new(AtomicBool::new(true));
    fixture.foundation.db = fixture.foundation.db.with_faults({
        let (rng, trouble) = (Arc::clone(&rng), Arc::clone(&trouble));
        Arc::new(move || {
            let faults = [DbFault::BeforeBegin, DbFault::BeforeCommit, DbFault::AfterCommit];
            (trouble.load(Ordering::SeqCst) && rng.roll(12) == 0)
                .then(|| faults[usize::try_from(rng.roll(3)).unwrap()])
        })
    });
    fixture.restart();
    let (mut wanted, mut stopped): (Vec<RuntimeId>, Vec<RuntimeId>) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        act(&mut fixture, &rng, &mut wanted, &mut stopped).await;
        let _failed = fixture.reconciler.run_once().await;
        fixture.foundation.clock.advance(Duration::from_millis(rng.roll(3000)));
    }
    trouble.store(false, Ordering::SeqCst);
    fixture.host.heal();
    // Stops that the database refused are asked for again, as who owns a runtime does.
    fixture.runtimes.stop(&stopped).await.unwrap();
    fixture.pass(130).await;
    check(&fixture, &wanted, &stopped, seed).await;
}

async fn act(fixture: &mut Fixture, rng: &Rng, wanted: &mut Vec<RuntimeId>, stopped: &mut Vec<RuntimeId>) {
    let pick = |from: &[RuntimeId]| {
        let count = u64::try_from(from.len()).unwrap();
        (count > 0).then(|| from[usize::try_from(rng.roll(count)).unwrap()])
    };
    match rng.roll(12) {
        0..=2 => {
            let new = NewRuntime { cpu_limit: 10, memory_limit: 20, ..fixture.lobby() };
            for _attempt in 0..20 {
                if fixture.runtimes.create(std::slice::from_ref(&new)).await.is_ok() {
                    wanted.push(new.id);
                    break;
                }
            }
        }
        3 => {
            if let Some(id) = pick(wanted) {
                let _refused = fixture.runtimes.stop(&[id]).await;
                wanted.retain(|it| *it != id);
                stopped.push(id);
            }
        }
        4 => drop(pick(wanted).map(|it| fixture.host.exit(it, Exit { code: 1, ..Exit::default() }))),
        5 => drop(pick(wanted).map(|it| fixture.host.vanish(it))),
        6 => {
            let calls = [
                HostCall::Pull,
                HostCall::Create,
                HostCall::Start,
                HostCall::Inspect,
                HostCall::Remove,
                HostCall::List,
            ];
            let faults = [HostFault::Refuse("no".into()), HostFault::LoseAnswer, HostFault::Hang];
            let call = calls[usize::try_from(rng.roll(6)).unwrap()];
            fixture.host.fail_next(call, faults[usize::try_from(rng.roll(3)).unwrap()].clone());
        }
        7 => fixture.host.set_reachable(rng.roll(2) == 0),
        8 => fixture.host.release(),
        9 => fixture.restart(),
        10 => {
            if let Some(id) = pick(wanted) {
                let epoch = u32::try_from(rng.roll(4)).unwrap();
                if fixture.host.containers().iter().all(|it| it.spec.attempt.runtime != id) {
                    fixture.host.appear(fixture.foreign(id, epoch + 40));
                }
            }
        }
        _ => fixture.host.forget_images(),
    }
}

async fn check(fixture: &Fixture, wanted: &[RuntimeId], stopped: &[RuntimeId], seed: u64) {
    let states = fixture.states(wanted).await;
    for id in wanted {
        let containers = fixture.host.running(*id);
        match &states[id] {
            RuntimeState::Running { .. } => {
                assert_eq!(containers.len(), 1, "seed {seed}: {id} has one container");
                let password = &containers[0].spec.env["OMGSERVERS_PASSWORD"];
                assert!(fixture.runtimes.verify(*id, password).await.is_ok(), "seed {seed}: {id} is let in");
            }
            RuntimeState::Failed(_) => assert_eq!(containers.len(), 0, "seed {seed}: {id} failed"),
            other => panic!("seed {seed}: {id} is {other:?}"),
        }
    }
    assert!(fixture.states(stopped).await.is_empty(), "seed {seed}: what was stopped is gone");
    let running = states.values().filter(|it| matches!(it, RuntimeState::Running { .. })).count();
    assert_eq!(fixture.host.containers().len(), running, "seed {seed}: nothing else is there");
}

#[tokio::test]
async fn every_story_ends_in_the_desired_state() {
    for seed in 1..=12 {
        story(seed).await;
    }
}
