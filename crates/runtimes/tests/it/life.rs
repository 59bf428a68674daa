//! A runtime from its creation to its end.

use std::{sync::atomic::Ordering, time::Duration};

use omgservers_api::{RuntimeId, RuntimeQualifier};
use omgservers_core::{Clock as _, Context, TraceParent, WorkerRegistry, context::Origin, worker};
use omgservers_runtimes::{
    RuntimeState, Runtimes as _, RuntimesConfig,
    host::{
        ContainerStatus, Exit, TRACE_PARENT,
        fake::{HostCall, HostFault},
    },
    problems,
};
use tokio_util::sync::CancellationToken;

use crate::fixture::Fixture;

#[tokio::test]
async fn a_wanted_runtime_runs_and_its_environment_lets_it_in() {
    let mut fixture = Fixture::new().await;
    let new = fixture.lobby();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(fixture.state(new.id).await, Some(RuntimeState::Starting { failures: 0 }));
    assert_eq!(fixture.runtimes.of_deployment(fixture.deployment).await.unwrap()[0].state, "pending");
    assert!(fixture.run().await > 0);

    let env = fixture.host.env(new.id).unwrap();
    assert_eq!(env["OMGSERVERS_RUNTIME_ID"], new.id.to_string());
    assert_eq!(env["OMGSERVERS_RUNTIME_QUALIFIER"], "LOBBY");
    assert_eq!(env["OMGSERVERS_SERVICE_URL"], fixture.config.service_url);
    assert_eq!(env.len(), 4, "{env:?}");
    fixture.runtimes.verify(new.id, &env["OMGSERVERS_PASSWORD"]).await.unwrap();

    let now = (fixture.foundation.clock.now(), fixture.foundation.clock.ticks());
    assert_eq!(
        fixture.state(new.id).await,
        Some(RuntimeState::Running { started: now.0, since: now.1, published: None })
    );
    let details = fixture.runtimes.of_deployment(fixture.deployment).await.unwrap();
    assert_eq!((details[0].state.as_str(), details[0].started), ("running", Some(now.0)));
    assert_eq!(fixture.run().await, 0, "what is as it should be is left alone");
}

#[tokio::test]
async fn a_container_gets_the_trace_of_the_run_that_starts_it() {
    let mut fixture = Fixture::new().await;
    let new = fixture.lobby();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    let trace = TraceParent { trace_id: 0xabc, span_id: 0xdef, flags: 1 };
    let origin = Origin::Worker { name: "runtimes.reconcile", run: 1 };
    Context { origin, trace: Some(trace) }.scope(fixture.run()).await;
    assert_eq!(fixture.host.env(new.id).unwrap()[TRACE_PARENT], trace.to_string());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_runtime_get_the_same_answer() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let unknown: RuntimeId = fixture.foundation.mint.root().unwrap();
    let password = fixture.password(id);
    let wrong = fixture.runtimes.verify(id, "guess").await.unwrap_err();
    let none = fixture.runtimes.verify(unknown, &password).await.unwrap_err();
    let empty = fixture.runtimes.verify(unknown, "").await.unwrap_err();
    for problem in [wrong, none, empty] {
        assert_eq!((problem.code(), problem.kind().status()), ("auth.credentials", 401));
    }
}

#[tokio::test]
async fn a_runtime_that_has_no_container_yet_lets_nobody_in() {
    let fixture = Fixture::new().await;
    let id = fixture.wanted_lobby().await;
    assert_eq!(fixture.runtimes.verify(id, "").await.unwrap_err().code(), "auth.credentials");
}

#[tokio::test]
async fn the_table_doesnt_hold_the_password() {
    use diesel_async::SimpleAsyncConnection as _;
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let password = fixture.password(id);
    let mut conn = fixture.foundation.db.read().await.unwrap();
    let found = format!(
        "do $$ begin if exists (select from runtimes.runtime r where r::text like '%{password}%') \
         then raise 'it does'; end if; end $$"
    );
    conn.batch_execute(&found).await.unwrap();
}

#[tokio::test]
async fn asking_twice_makes_one_runtime() {
    let mut fixture = Fixture::new().await;
    let new = fixture.lobby();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    let password = fixture.password(new.id);
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    assert_eq!(fixture.host.count(HostCall::Create), 1);
    assert_eq!(fixture.password(new.id), password);
}

#[tokio::test]
async fn a_stopped_runtime_goes_with_its_container_and_its_network() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let password = fixture.password(id);
    assert_eq!(fixture.host.networks(), [fixture.tenant]);
    fixture.runtimes.stop(&[id]).await.unwrap();
    assert_eq!(fixture.state(id).await, Some(RuntimeState::Stopping));
    assert_eq!(fixture.runtimes.of_deployment(fixture.deployment).await.unwrap()[0].state, "stopping");
    let problem = fixture.runtimes.verify(id, &password).await.unwrap_err();
    assert!(problem.is(problems::STOPPED), "{problem}");
    assert_eq!((problem.qualifier(), problem.kind().status()), ("RUNTIME_NOT_FOUND", 404));

    fixture.run().await;
    assert_eq!(fixture.state(id).await, None);
    assert_eq!(fixture.host.containers().len(), 0);
    fixture.run().await;
    assert_eq!(fixture.host.networks(), []);
    assert_eq!(fixture.runtimes.verify(id, &password).await.unwrap_err().code(), "auth.credentials");
    assert!(fixture.runtimes.failures(fixture.deployment).await.unwrap().is_empty(), "a stop is no failure");
}

#[tokio::test]
async fn unknown_runtimes_can_be_stopped() {
    let fixture = Fixture::new().await;
    let unknown: RuntimeId = fixture.foundation.mint.root().unwrap();
    let elsewhere: RuntimeId = i64::MAX.to_string().parse().unwrap();
    fixture.runtimes.stop(&[unknown, elsewhere]).await.unwrap();
    fixture.runtimes.stop(&[]).await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_is_stopped_before_it_started_never_starts() {
    let mut fixture = Fixture::new().await;
    let id = fixture.wanted_lobby().await;
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.run().await;
    assert_eq!((fixture.host.count(HostCall::Create), fixture.state(id).await), (0, None));
}

#[tokio::test]
async fn a_runtime_that_is_stopped_while_its_start_hangs_goes() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.host.containers()[0].status, ContainerStatus::Created);
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.pass(6).await;
    assert_eq!((fixture.host.containers().len(), fixture.state(id).await), (0, None));
}

#[tokio::test]
async fn a_slow_start_of_a_stopped_runtime_leaves_nothing_behind() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.host.release();
    fixture.run().await;
    assert_eq!((fixture.host.containers().len(), fixture.state(id).await), (0, None));
    assert!(fixture.runtimes.failures(fixture.deployment).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_that_ends_by_itself_leaves_its_reasons_and_isnt_started_again() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let password = fixture.password(id);
    let exit = Exit { code: 7, out_of_memory: false, log_tail: "thread 'main' panicked".into() };
    fixture.host.exit(id, exit);
    fixture.run().await;
    let failure = fixture.failure(id).await;
    assert_eq!((failure.exit_code, failure.out_of_memory), (Some(7), false));
    assert_eq!(failure.log_tail, "thread 'main' panicked");
    assert!(failure.reason.contains('7'), "{}", failure.reason);
    fixture.pass(120).await;
    assert_eq!((fixture.host.containers().len(), fixture.host.count(HostCall::Create)), (0, 1));
    assert_eq!(fixture.failure(id).await, failure);
    assert_eq!(fixture.runtimes.failures(fixture.deployment).await.unwrap(), std::slice::from_ref(&failure));
    let details = fixture.runtimes.of_deployment(fixture.deployment).await.unwrap();
    assert_eq!((details[0].state.as_str(), details[0].failures), ("failed", 1));
    assert_eq!(details[0].last_failure.as_ref(), Some(&failure));
    assert!(fixture.runtimes.verify(id, &password).await.unwrap_err().is(problems::STOPPED));

    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.run().await;
    assert_eq!(fixture.state(id).await, None);
    assert_eq!(
        fixture.runtimes.failures(fixture.deployment).await.unwrap().len(),
        1,
        "the failure outlives it"
    );
}

#[tokio::test]
async fn a_container_without_memory_has_its_own_reason() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    assert!(fixture.host.run_out_of_memory(id));
    fixture.run().await;
    let failure = fixture.failure(id).await;
    assert!(failure.out_of_memory && failure.reason.contains("memory"), "{failure:?}");
}

#[tokio::test]
async fn a_container_that_somebody_removed_is_missed() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.host.vanish(id);
    fixture.run().await;
    assert!(fixture.failure(id).await.reason.contains("gone"));
}

#[tokio::test]
async fn a_container_that_fails_before_its_start_is_recorded_is_noticed() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    // It runs and ends while the answer is under way.
    fixture.host.release();
    fixture.run().await;
    fixture.host.exit(id, Exit { code: 3, ..Exit::default() });
    fixture.run().await;
    assert_eq!(fixture.failure(id).await.exit_code, Some(3));
}

#[tokio::test]
async fn an_image_is_pulled_once() {
    let mut fixture = Fixture::new().await;
    let ids = [fixture.wanted_lobby().await, fixture.wanted_lobby().await];
    fixture.run().await;
    fixture.runtimes.stop(&ids).await.unwrap();
    fixture.run().await;
    let third = fixture.running_lobby().await;
    assert_eq!((fixture.host.count(HostCall::Pull), fixture.tokens.0.load(Ordering::SeqCst)), (1, 1));
    assert!(fixture.is_running(third).await);
}

#[tokio::test]
async fn an_image_that_was_cleared_away_is_pulled_again() {
    let mut fixture = Fixture::new().await;
    let first = fixture.running_lobby().await;
    fixture.runtimes.stop(&[first]).await.unwrap();
    fixture.run().await;
    fixture.host.forget_images();
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    fixture.pass(1).await;
    assert!(fixture.is_running(id).await);
    assert_eq!(fixture.host.count(HostCall::Pull), 2);
}

#[tokio::test]
async fn matches_start_before_lobbies_and_only_so_many_at_once() {
    let mut fixture = Fixture::new().await;
    let mut wanted = Vec::new();
    let small = |it| omgservers_runtimes::NewRuntime { cpu_limit: 10, memory_limit: 10, ..it };
    for _ in 0..6 {
        let new = small(fixture.lobby());
        fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    }
    for _ in 0..3 {
        let new = small(fixture.new_runtime(RuntimeQualifier::Match));
        fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
        wanted.push(new.id);
    }
    fixture.host.fail_always(HostCall::Start, Some(HostFault::Hang));
    fixture.run().await;
    // Two cores: four starts.
    let mut begun: Vec<RuntimeId> =
        fixture.host.containers().iter().map(|it| it.spec.attempt.runtime).collect();
    assert_eq!(begun.len(), 4);
    begun.retain(|it| wanted.contains(it));
    assert_eq!(begun.len(), 3, "all matches are among the first");
    fixture.host.fail_always(HostCall::Start, None);
    fixture.host.release();
    fixture.run().await;
    assert_eq!(
        fixture.host.containers().iter().filter(|it| it.status == ContainerStatus::Running).count(),
        9
    );
}

#[tokio::test]
async fn the_deployment_of_a_runtime_that_runs_or_fails_is_enqueued() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    assert_eq!(fixture.changed.take_due(9), [fixture.deployment]);
    fixture.run().await;
    assert!(fixture.changed.take_due(9).is_empty(), "nothing changed");
    fixture.host.exit(id, Exit::default());
    fixture.run().await;
    assert_eq!(fixture.changed.take_due(9), [fixture.deployment]);
}

#[tokio::test]
async fn wanted_are_those_that_should_run() {
    let mut fixture = Fixture::new().await;
    let (runs, fails, stops) =
        (fixture.running_lobby().await, fixture.running_lobby().await, fixture.wanted_lobby().await);
    fixture.host.exit(fails, Exit::default());
    fixture.run().await;
    fixture.runtimes.stop(&[stops]).await.unwrap();
    let mut expected = [(runs, fixture.deployment), (fails, fixture.deployment)];
    expected.sort();
    assert_eq!(fixture.runtimes.wanted().await.unwrap(), expected);
}

#[tokio::test]
async fn limits_and_labels_reach_the_container() {
    let mut fixture = Fixture::new().await;
    let mut new = fixture.lobby();
    (new.cpu_limit, new.memory_limit) = (150, 300);
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    let spec = fixture.host.running(new.id).remove(0).spec;
    assert_eq!((spec.cpu, spec.memory), (150, 300));
    assert_eq!(spec.labels, new.labels);
    assert_eq!((spec.tenant, spec.deployment), (fixture.tenant, fixture.deployment));
    let absurd = omgservers_runtimes::NewRuntime { memory_limit: u32::MAX, ..fixture.lobby() };
    assert!(
        fixture.runtimes.create(std::slice::from_ref(&absurd)).await.unwrap_err().is(problems::WRONG_LIMITS)
    );
}

/// As in a server: the worker waits for no step, events ring it.
#[tokio::test]
async fn a_start_that_hangs_holds_up_nothing_else() {
    let fixture = Fixture::with(RuntimesConfig::default()).await;
    let (stop, changed) = (CancellationToken::new(), fixture.changed.doorbell());
    let (reconciler, watching) = (fixture.runtimes.reconciler(), fixture.runtimes.clone());
    let registry = WorkerRegistry::new(fixture.foundation.clock());
    let worker =
        tokio::spawn(worker::run(Box::new(reconciler), fixture.runtimes.doorbell(), registry, stop.clone()));
    let watcher = tokio::spawn({
        let stop = stop.clone();
        async move { watching.watch(stop).await }
    });
    fixture.host.fail_next(HostCall::Start, HostFault::Hang);
    let hangs = fixture.wanted_lobby().await;
    while fixture.host.count(HostCall::Start) == 0 {
        tokio::task::yield_now().await;
    }
    let runs = fixture.wanted_lobby().await;
    let story = async {
        while !fixture.is_running(runs).await {
            changed.rung().await;
        }
        // Its end is heard, not found by the period.
        fixture.host.exit(runs, Exit { code: 5, ..Exit::default() });
        while fixture.is_running(runs).await {
            changed.rung().await;
        }
        fixture.failure(runs).await
    };
    let failure = tokio::time::timeout(Duration::from_secs(4), story).await.unwrap();
    assert_eq!(failure.exit_code, Some(5));
    assert_eq!(fixture.attempts(hangs).await, 0);
    stop.cancel();
    worker.await.unwrap();
    watcher.await.unwrap();
}
