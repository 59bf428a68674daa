//! What a new process makes of what it finds.

use std::time::Duration;

use omgservers_core::{Clock as _, Ownership, Worker as _};
use omgservers_runtimes::{
    RuntimeState, Runtimes as _,
    host::{
        ContainerStatus, Exit,
        fake::{HostCall, HostFault},
    },
    problems,
};

use crate::fixture::Fixture;

#[tokio::test]
async fn what_runs_goes_on_and_counts_from_the_new_start() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let (password, started) = (fixture.password(id), fixture.foundation.clock.now());
    fixture.foundation.clock.advance(Duration::from_secs(3600));
    fixture.restart();
    let began = fixture.foundation.clock.ticks();
    assert_eq!(
        fixture.state(id).await,
        Some(RuntimeState::Running { started, since: began, published: None })
    );
    fixture.pass(60).await;
    assert_eq!(
        fixture.state(id).await,
        Some(RuntimeState::Running { started, since: began, published: None })
    );
    assert_eq!(fixture.host.count(HostCall::Create), 1);
    fixture.runtimes.verify(id, &password).await.unwrap();
}

#[tokio::test]
async fn a_container_that_ended_meanwhile_is_noticed() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.host.exit(id, Exit { code: 9, ..Exit::default() });
    fixture.restart();
    fixture.run().await;
    assert_eq!(fixture.failure(id).await.exit_code, Some(9));
    assert_eq!(fixture.host.containers().len(), 0);
}

#[tokio::test]
async fn a_start_whose_answer_came_after_the_end_is_taken_over() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    // The host carries on; the process that asked is gone.
    let made = fixture.host.containers().remove(0).spec;
    let password = made.env["OMGSERVERS_PASSWORD"].clone();
    fixture.restart();
    fixture.host.appear(made);
    fixture.run().await;
    assert!(fixture.is_running(id).await);
    assert_eq!((fixture.host.containers().len(), fixture.host.count(HostCall::Create)), (1, 1));
    fixture.runtimes.verify(id, &password).await.unwrap();
}

#[tokio::test]
async fn a_container_that_was_made_and_never_started_is_replaced() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.host.containers()[0].status, ContainerStatus::Created);
    fixture.restart();
    fixture.run().await;
    assert!(fixture.is_running(id).await);
    assert_eq!(fixture.host.containers().len(), 1);
    assert_eq!(fixture.host.running(id)[0].spec.attempt.epoch, 2);
    assert!(
        fixture.runtimes.failures(fixture.deployment).await.unwrap().is_empty(),
        "our restart isn't its failure"
    );
}

#[tokio::test]
async fn an_interrupted_attempt_that_left_nothing_is_the_last() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::HoldAnswer);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    let password = fixture.password(id);
    // It runs, its game server may have spoken to the backend, and then somebody removes it.
    fixture.runtimes.verify(id, &password).await.unwrap();
    fixture.host.vanish(id);
    fixture.restart();
    fixture.run().await;
    assert!(fixture.failure(id).await.reason.contains("interrupted"));
    fixture.pass(70).await;
    assert_eq!(fixture.host.count(HostCall::Create), 1);
    assert!(fixture.runtimes.verify(id, &password).await.unwrap_err().is(problems::STOPPED));
}

#[tokio::test]
async fn a_container_that_was_started_while_it_was_to_be_discarded_is_taken_over() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    let made = fixture.host.containers().remove(0).spec;
    fixture.restart();
    // The new process sees it made, and the order of the old one arrives before its own.
    fixture.host.fail_next(HostCall::Remove, HostFault::Hang);
    fixture.run().await;
    fixture.host.appear(made);
    fixture.host.release();
    fixture.run().await;
    assert!(fixture.is_running(id).await);
    assert_eq!((fixture.host.containers().len(), fixture.host.count(HostCall::Create)), (1, 1));
}

#[tokio::test]
async fn nothing_is_concluded_before_the_host_has_listed_its_containers() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.restart();
    fixture.host.set_reachable(false);
    fixture.pass(20).await;
    assert!(fixture.is_running(id).await);
    fixture.host.set_reachable(true);
    fixture.pass(20).await;
    assert!(fixture.is_running(id).await);
    assert_eq!(fixture.host.count(HostCall::Create), 1);
}

#[tokio::test]
async fn containers_without_a_runtime_and_of_older_attempts_are_removed() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let orphan = fixture.foundation.mint.root().unwrap();
    fixture.host.appear(fixture.foreign(orphan, 1));
    fixture.host.appear(fixture.foreign(id, 0));
    fixture.host.appear(fixture.foreign(id, 7));
    fixture.run().await;
    assert_eq!(fixture.host.containers().len(), 1);
    assert!(fixture.is_running(id).await);
    assert_eq!(fixture.host.running(id)[0].spec.attempt.epoch, 1);
}

#[tokio::test]
async fn a_stop_that_was_requested_before_the_restart_is_done_after_it() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.restart();
    fixture.run().await;
    assert_eq!((fixture.state(id).await, fixture.host.containers().len()), (None, 0));
}

#[tokio::test]
async fn a_process_that_lost_its_slots_touches_nothing() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let waits = fixture.wanted_lobby().await;
    let _successor = Ownership::take(&fixture.foundation.db, "successor").await.unwrap();
    // The successor's containers look like strays to the old process.
    let theirs = fixture.foundation.mint.root().unwrap();
    fixture.host.appear(fixture.foreign(theirs, 1));
    fixture.host.exit(id, Exit::default());
    for _ in 0..3 {
        fixture.foundation.clock.advance(Duration::from_secs(5));
        let problem = fixture.reconciler.run_once().await.unwrap_err();
        assert_eq!(problem.code(), "core.not_owner");
    }
    assert_eq!(fixture.host.running(theirs).len(), 1);
    assert_eq!((fixture.host.count(HostCall::Create), fixture.host.count(HostCall::Remove)), (1, 0));
    assert!(fixture.is_running(id).await);
    assert_eq!(fixture.attempts(waits).await, 0);
    assert_eq!(fixture.runtimes.stop(&[id]).await.unwrap_err().code(), "core.not_owner");
    assert!(fixture.foundation.ownership.lost().is_cancelled());
}
