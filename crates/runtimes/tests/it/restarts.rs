//! What a new process makes of what it finds.

use std::time::Duration;

use omgservers_core::{Clock as _, Ownership, Worker as _};
use omgservers_runtimes::{
    RuntimeState, Runtimes as _,
    host::{
        Exit, Status,
        fake::{Call, Fault},
    },
    problems,
};

use crate::world::World;

#[tokio::test]
async fn what_runs_goes_on_and_counts_from_the_new_start() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let (password, started) = (world.password(id), world.ground.clock.now());
    world.ground.clock.advance(Duration::from_secs(3600));
    world.restart();
    let began = world.ground.clock.ticks();
    assert_eq!(world.state(id).await, Some(RuntimeState::Running { started, since: began, published: None }));
    world.pass(60).await;
    assert_eq!(world.state(id).await, Some(RuntimeState::Running { started, since: began, published: None }));
    assert_eq!(world.host.count(Call::Create), 1);
    world.runtimes.verify(id, &password).await.unwrap();
}

#[tokio::test]
async fn a_container_that_ended_meanwhile_is_noticed() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    world.host.exit(id, Exit { code: 9, ..Exit::default() });
    world.restart();
    world.run().await;
    assert_eq!(world.failure(id).await.exit_code, Some(9));
    assert_eq!(world.host.containers().len(), 0);
}

#[tokio::test]
async fn a_start_whose_answer_came_after_the_end_is_taken_over() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    // The host carries on; the process that asked is gone.
    let made = world.host.containers().remove(0).spec;
    let password = made.env["OMGSERVERS_PASSWORD"].clone();
    world.restart();
    world.host.appear(made);
    world.run().await;
    assert!(world.is_running(id).await);
    assert_eq!((world.host.containers().len(), world.host.count(Call::Create)), (1, 1));
    world.runtimes.verify(id, &password).await.unwrap();
}

#[tokio::test]
async fn a_container_that_was_made_and_never_started_is_replaced() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    assert_eq!(world.host.containers()[0].status, Status::Created);
    world.restart();
    world.run().await;
    assert!(world.is_running(id).await);
    assert_eq!(world.host.containers().len(), 1);
    assert_eq!(world.host.running(id)[0].spec.attempt.epoch, 2);
    assert!(
        world.runtimes.failures(world.deployment).await.unwrap().is_empty(),
        "our restart isn't its failure"
    );
}

#[tokio::test]
async fn an_interrupted_attempt_that_left_nothing_is_the_last() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::HoldAnswer);
    let id = world.wanted_lobby().await;
    world.run().await;
    let password = world.password(id);
    // It runs, its game server may have spoken to the backend, and then somebody removes it.
    world.runtimes.verify(id, &password).await.unwrap();
    world.host.vanish(id);
    world.restart();
    world.run().await;
    assert!(world.failure(id).await.reason.contains("interrupted"));
    world.pass(70).await;
    assert_eq!(world.host.count(Call::Create), 1);
    assert!(world.runtimes.verify(id, &password).await.unwrap_err().is(problems::STOPPED));
}

#[tokio::test]
async fn a_container_that_was_started_while_it_was_to_be_discarded_is_taken_over() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    let made = world.host.containers().remove(0).spec;
    world.restart();
    // The new process sees it made, and the order of the old one arrives before its own.
    world.host.fail_next(Call::Remove, Fault::Hang);
    world.run().await;
    world.host.appear(made);
    world.host.release();
    world.run().await;
    assert!(world.is_running(id).await);
    assert_eq!((world.host.containers().len(), world.host.count(Call::Create)), (1, 1));
}

#[tokio::test]
async fn nothing_is_concluded_before_the_host_has_told_what_it_has() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    world.restart();
    world.host.set_reachable(false);
    world.pass(20).await;
    assert!(world.is_running(id).await);
    world.host.set_reachable(true);
    world.pass(20).await;
    assert!(world.is_running(id).await);
    assert_eq!(world.host.count(Call::Create), 1);
}

#[tokio::test]
async fn containers_without_a_runtime_and_of_older_attempts_are_removed() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let orphan = world.ground.mint.root().unwrap();
    world.host.appear(world.foreign(orphan, 1));
    world.host.appear(world.foreign(id, 0));
    world.host.appear(world.foreign(id, 7));
    world.run().await;
    assert_eq!(world.host.containers().len(), 1);
    assert!(world.is_running(id).await);
    assert_eq!(world.host.running(id)[0].spec.attempt.epoch, 1);
}

#[tokio::test]
async fn a_stop_that_was_wished_before_the_restart_is_done_after_it() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    world.runtimes.stop(&[id]).await.unwrap();
    world.restart();
    world.run().await;
    assert_eq!((world.state(id).await, world.host.containers().len()), (None, 0));
}

#[tokio::test]
async fn a_process_that_lost_its_slots_touches_nothing() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let waits = world.wanted_lobby().await;
    let _successor = Ownership::take(&world.ground.db, "successor").await.unwrap();
    // The successor's containers look like strays to the old process.
    let theirs = world.ground.mint.root().unwrap();
    world.host.appear(world.foreign(theirs, 1));
    world.host.exit(id, Exit::default());
    for _ in 0..3 {
        world.ground.clock.advance(Duration::from_secs(5));
        let problem = world.reconciler.run_once().await.unwrap_err();
        assert_eq!(problem.code(), "core.not_owner");
    }
    assert_eq!(world.host.running(theirs).len(), 1);
    assert_eq!((world.host.count(Call::Create), world.host.count(Call::Remove)), (1, 0));
    assert!(world.is_running(id).await);
    assert_eq!(world.attempts(waits).await, 0);
    assert_eq!(world.runtimes.stop(&[id]).await.unwrap_err().code(), "core.not_owner");
    assert!(world.ground.ownership.lost().is_cancelled());
}
