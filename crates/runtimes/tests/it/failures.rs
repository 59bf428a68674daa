//! Attempts that fail: they are seen, told, and repeated with growing pauses.

use std::collections::HashSet;

use omgservers_api::{DeploymentId, Problem};
use omgservers_core::{Existences, Worker as _, existences};
use omgservers_runtimes::{
    ExistingDeployments, NewRuntime, RuntimeState, Runtimes as _, SweepFailures,
    host::{
        Exit,
        fake::{HostCall, HostFault},
    },
};

use crate::fixture::Fixture;

fn refuse(reason: &str) -> HostFault {
    HostFault::Refuse(reason.into())
}

#[tokio::test]
async fn a_pull_that_fails_is_reported_and_tried_again() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Pull, refuse("manifest unknown"));
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let details = fixture.runtimes.of_deployment(fixture.deployment).await.unwrap().remove(0);
    assert_eq!((details.state.as_str(), details.failures), ("starting", 1));
    let reason = details.last_failure.unwrap().reason;
    assert!(reason.contains("manifest unknown") && reason.contains("pull"), "{reason}");
    fixture.run().await;
    assert_eq!(fixture.host.count(HostCall::Pull), 1, "not before the pause is over");
    fixture.pass(1).await;
    assert!(fixture.is_running(id).await);
}

#[tokio::test]
async fn one_pull_that_fails_fails_all_who_wait_for_it() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Pull, refuse("no space left"));
    let ids = [fixture.wanted_lobby().await, fixture.wanted_lobby().await];
    fixture.run().await;
    assert_eq!(fixture.host.count(HostCall::Pull), 1);
    for id in ids {
        assert_eq!(fixture.attempts(id).await, 1);
    }
    fixture.pass(1).await;
    assert!(fixture.is_running(ids[0]).await && fixture.is_running(ids[1]).await);
}

#[tokio::test]
async fn a_container_that_cant_be_made_is_reported_and_tried_again() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Create, refuse("invalid mount"));
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let failures = fixture.runtimes.failures(fixture.deployment).await.unwrap();
    assert!(failures[0].reason.contains("invalid mount"), "{failures:?}");
    fixture.pass(1).await;
    assert!(fixture.is_running(id).await);
}

#[tokio::test]
async fn every_attempt_has_a_password_of_its_own_and_only_the_last_is_right() {
    let mut fixture = Fixture::new().await;
    // The host makes the container and doesn't start it.
    fixture.host.fail_next(HostCall::Create, HostFault::LoseAnswer);
    fixture.host.fail_always(HostCall::Remove, Some(refuse("busy")));
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    let first = fixture.host.containers().remove(0).spec.env["OMGSERVERS_PASSWORD"].clone();
    assert_eq!(fixture.attempts(id).await, 1);
    assert_eq!(fixture.runtimes.verify(id, &first).await.unwrap_err().code(), "auth.credentials");
    fixture.pass(1).await;
    let second = fixture.password(id);
    assert_ne!(first, second);
    assert_eq!(fixture.runtimes.verify(id, &first).await.unwrap_err().code(), "auth.credentials");
    fixture.runtimes.verify(id, &second).await.unwrap();
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_the_last() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::LoseAnswer);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    // The container ran: its game server may have consumed commands that another one would miss.
    let reason = fixture.failure(id).await.reason;
    assert!(reason.contains("isn't known") && reason.contains("the answer was lost"), "{reason}");
    assert_eq!(fixture.host.containers().len(), 0, "it is cleared away");
    fixture.pass(70).await;
    assert_eq!((fixture.host.count(HostCall::Start), fixture.host.containers().len()), (1, 0));
}

#[tokio::test]
async fn a_container_that_was_made_without_an_answer_is_followed_by_another() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Create, HostFault::LoseAnswer);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!((fixture.attempts(id).await, fixture.host.containers().len()), (1, 0));
    fixture.pass(1).await;
    assert!(fixture.is_running(id).await);
    assert_eq!((fixture.host.count(HostCall::Start), fixture.host.containers().len()), (1, 1));
}

#[tokio::test]
async fn a_start_without_an_answer_counts_as_failed_after_a_while() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    fixture.pass(59).await;
    assert_eq!(fixture.attempts(id).await, 0);
    fixture.pass(1).await;
    assert!(fixture.failure(id).await.reason.contains("no answer within 60 s"));
    fixture.pass(3).await;
    assert_eq!(fixture.host.containers().len(), 0, "what hung is removed");
}

#[tokio::test]
async fn pauses_grow_and_nothing_runs_hot() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_always(HostCall::Start, Some(refuse("exec /rt: no such file or directory")));
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    let mut at = vec![0];
    for second in 1..=130 {
        let before = fixture.host.count(HostCall::Start);
        fixture.pass(1).await;
        // Being rung changes nothing.
        for _ in 0..3 {
            fixture.run().await;
        }
        match fixture.host.count(HostCall::Start) - before {
            0 => {}
            1 => at.push(second),
            more => panic!("{more} attempts in one second"),
        }
    }
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 123]);
    assert_eq!(fixture.attempts(id).await, 8);
    assert_eq!(fixture.host.containers().len(), 0);
    fixture.host.fail_always(HostCall::Start, None);
    fixture.pass(60).await;
    assert!(fixture.is_running(id).await);
}

#[tokio::test]
async fn the_newest_twenty_failures_of_a_deployment_are_kept() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_always(HostCall::Create, Some(refuse("out of order")));
    for _ in 0..3 {
        fixture.wanted_lobby().await;
    }
    fixture.pass(64).await;
    let mut failures = fixture.runtimes.failures(fixture.deployment).await.unwrap();
    assert_eq!(failures.len(), 20);
    assert!(failures.is_sorted_by(|a, b| a.at >= b.at));
    let newest = failures.remove(0);
    fixture.pass(64).await;
    assert!(fixture.runtimes.failures(fixture.deployment).await.unwrap()[0].at > newest.at);
    let other: DeploymentId = fixture.foundation.mint.root().unwrap();
    assert!(fixture.runtimes.failures(other).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_runtime_that_fits_nowhere_is_reported_and_starts_when_there_is_room() {
    let mut fixture = Fixture::new().await;
    let full = [fixture.running_lobby().await, fixture.running_lobby().await];
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let reason = fixture.runtimes.failures(fixture.deployment).await.unwrap().remove(0).reason;
    assert!(reason.contains("room") && reason.contains("512"), "{reason}");
    fixture.pass(40).await;
    assert_eq!(fixture.attempts(id).await, 6, "with growing pauses");
    fixture.runtimes.stop(&full[..1]).await.unwrap();
    fixture.run().await;
    assert!(fixture.is_running(id).await, "without waiting for the pause to end");
}

#[tokio::test]
async fn what_is_too_large_doesnt_block_what_fits() {
    let mut fixture = Fixture::new().await;
    let large = NewRuntime { memory_limit: 100_000, ..fixture.lobby() };
    fixture.runtimes.create(std::slice::from_ref(&large)).await.unwrap();
    let small = fixture.wanted_lobby().await;
    fixture.run().await;
    assert!(fixture.is_running(small).await);
    assert_eq!(fixture.state(large.id).await, Some(RuntimeState::Starting { failures: 1 }));
}

#[tokio::test]
async fn a_log_of_anything_can_be_kept() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let log_tail = "\u{feff}ünï 'quotes' \\ {json: \"x\"}".to_owned();
    fixture.host.exit(id, Exit { code: -1, out_of_memory: false, log_tail: log_tail.clone() });
    fixture.run().await;
    assert_eq!(fixture.failure(id).await.log_tail, log_tail);
}

#[tokio::test]
async fn a_reason_with_control_characters_can_be_kept() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, refuse(&format!("bad\0 byte{}", "x".repeat(5000))));
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let reason = fixture.runtimes.failures(fixture.deployment).await.unwrap().remove(0).reason;
    assert!(reason.contains("bad byte") && reason.len() <= 1000, "{reason}");
}

#[tokio::test]
async fn a_removal_that_fails_is_repeated_with_growing_pauses() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.host.fail_always(HostCall::Remove, Some(refuse("device or resource busy")));
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.pass(63).await;
    assert!(fixture.host.count(HostCall::Remove) <= 7, "{}", fixture.host.count(HostCall::Remove));
    assert_eq!(fixture.state(id).await, Some(RuntimeState::Stopping));
    fixture.host.fail_always(HostCall::Remove, None);
    fixture.pass(60).await;
    assert_eq!((fixture.state(id).await, fixture.host.containers().len()), (None, 0));
}

/// The deployments that there are.
struct Existing(HashSet<DeploymentId>);

#[async_trait::async_trait]
impl ExistingDeployments for Existing {
    async fn exist(&self, ids: &[DeploymentId]) -> Result<Existences<DeploymentId>, Problem> {
        Ok(existences(ids, &self.0))
    }
}

#[tokio::test]
async fn failures_of_deployments_that_are_gone_are_forgotten() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Create, refuse("no"));
    fixture.host.fail_next(HostCall::Create, refuse("no"));
    let gone = NewRuntime { deployment: fixture.foundation.mint.root().unwrap(), ..fixture.lobby() };
    fixture.runtimes.create(std::slice::from_ref(&gone)).await.unwrap();
    fixture.wanted_lobby().await;
    fixture.run().await;
    let foundation = &fixture.foundation;
    let existing = std::sync::Arc::new(Existing([fixture.deployment].into()));
    let mut sweep = SweepFailures::new(foundation.db.clone(), foundation.ownership.clone(), existing);
    assert_eq!(sweep.run_once().await.unwrap().changed, 1);
    assert_eq!(fixture.runtimes.failures(gone.deployment).await.unwrap(), []);
    assert_eq!(fixture.runtimes.failures(fixture.deployment).await.unwrap().len(), 1);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
}
