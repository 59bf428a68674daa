//! A runtime from the wish to its end.

use std::{sync::atomic::Ordering, time::Duration};

use omgservers_api::{RuntimeId, RuntimeQualifier};
use omgservers_core::{Clock as _, WorkerRegistry, worker};
use omgservers_runtimes::{
    RuntimeState, Runtimes as _, RuntimesConfig,
    host::{
        Exit, Status,
        fake::{Call, Fault},
    },
    problems,
};
use tokio_util::sync::CancellationToken;

use crate::world::World;

#[tokio::test]
async fn a_wanted_runtime_runs_and_its_environment_lets_it_in() {
    let mut world = World::new().await;
    let new = world.lobby();
    world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(world.state(new.id).await, Some(RuntimeState::Starting { failures: 0 }));
    assert_eq!(world.runtimes.of_deployment(world.deployment).await.unwrap()[0].state, "pending");
    assert!(world.run().await > 0);

    let env = world.host.env(new.id).unwrap();
    assert_eq!(env["OMGSERVERS_RUNTIME_ID"], new.id.to_string());
    assert_eq!(env["OMGSERVERS_RUNTIME_QUALIFIER"], "LOBBY");
    assert_eq!(env["OMGSERVERS_SERVICE_URL"], world.config.service_url);
    assert_eq!(env.len(), 4, "{env:?}");
    world.runtimes.verify(new.id, &env["OMGSERVERS_PASSWORD"]).await.unwrap();

    let now = (world.ground.clock.now(), world.ground.clock.ticks());
    assert_eq!(
        world.state(new.id).await,
        Some(RuntimeState::Running { started: now.0, since: now.1, published: None })
    );
    let details = world.runtimes.of_deployment(world.deployment).await.unwrap();
    assert_eq!((details[0].state.as_str(), details[0].started), ("running", Some(now.0)));
    assert_eq!(world.run().await, 0, "what is as it should be is left alone");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_runtime_get_the_same_answer() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let unknown: RuntimeId = world.ground.mint.root().unwrap();
    let password = world.password(id);
    let wrong = world.runtimes.verify(id, "guess").await.unwrap_err();
    let none = world.runtimes.verify(unknown, &password).await.unwrap_err();
    let empty = world.runtimes.verify(unknown, "").await.unwrap_err();
    for problem in [wrong, none, empty] {
        assert_eq!((problem.code(), problem.kind().status()), ("auth.credentials", 401));
    }
}

#[tokio::test]
async fn a_runtime_that_has_no_container_yet_lets_nobody_in() {
    let world = World::new().await;
    let id = world.wanted_lobby().await;
    assert_eq!(world.runtimes.verify(id, "").await.unwrap_err().code(), "auth.credentials");
}

#[tokio::test]
async fn the_table_doesnt_hold_the_password() {
    use diesel_async::SimpleAsyncConnection as _;
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let password = world.password(id);
    let mut conn = world.ground.db.read().await.unwrap();
    let found = format!(
        "do $$ begin if exists (select from runtimes.runtime r where r::text like '%{password}%') \
         then raise 'it does'; end if; end $$"
    );
    conn.batch_execute(&found).await.unwrap();
}

#[tokio::test]
async fn asking_twice_makes_one_runtime() {
    let mut world = World::new().await;
    let new = world.lobby();
    world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    world.run().await;
    let password = world.password(new.id);
    world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    world.run().await;
    assert_eq!(world.host.count(Call::Create), 1);
    assert_eq!(world.password(new.id), password);
}

#[tokio::test]
async fn a_stopped_runtime_goes_with_its_container_and_its_network() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let password = world.password(id);
    assert_eq!(world.host.networks(), [world.tenant]);
    world.runtimes.stop(&[id]).await.unwrap();
    assert_eq!(world.state(id).await, Some(RuntimeState::Stopping));
    assert_eq!(world.runtimes.of_deployment(world.deployment).await.unwrap()[0].state, "stopping");
    let problem = world.runtimes.verify(id, &password).await.unwrap_err();
    assert!(problem.is(problems::STOPPED), "{problem}");
    assert_eq!((problem.qualifier(), problem.kind().status()), ("RUNTIME_NOT_FOUND", 404));

    world.run().await;
    assert_eq!(world.state(id).await, None);
    assert_eq!(world.host.containers().len(), 0);
    world.run().await;
    assert_eq!(world.host.networks(), []);
    assert_eq!(world.runtimes.verify(id, &password).await.unwrap_err().code(), "auth.credentials");
    assert!(world.runtimes.failures(world.deployment).await.unwrap().is_empty(), "a stop is no failure");
}

#[tokio::test]
async fn unknown_runtimes_can_be_stopped() {
    let world = World::new().await;
    let unknown: RuntimeId = world.ground.mint.root().unwrap();
    let elsewhere: RuntimeId = i64::MAX.to_string().parse().unwrap();
    world.runtimes.stop(&[unknown, elsewhere]).await.unwrap();
    world.runtimes.stop(&[]).await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_is_stopped_before_it_started_never_starts() {
    let mut world = World::new().await;
    let id = world.wanted_lobby().await;
    world.runtimes.stop(&[id]).await.unwrap();
    world.run().await;
    assert_eq!((world.host.count(Call::Create), world.state(id).await), (0, None));
}

#[tokio::test]
async fn a_runtime_that_is_stopped_while_its_start_hangs_goes() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    assert_eq!(world.host.containers()[0].status, Status::Created);
    world.runtimes.stop(&[id]).await.unwrap();
    world.pass(6).await;
    assert_eq!((world.host.containers().len(), world.state(id).await), (0, None));
}

#[tokio::test]
async fn a_slow_start_of_a_stopped_runtime_leaves_nothing_behind() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    world.runtimes.stop(&[id]).await.unwrap();
    world.host.release();
    world.run().await;
    assert_eq!((world.host.containers().len(), world.state(id).await), (0, None));
    assert!(world.runtimes.failures(world.deployment).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_that_ends_by_itself_leaves_its_reasons_and_isnt_started_again() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    let password = world.password(id);
    let exit = Exit { code: 7, out_of_memory: false, log_tail: "thread 'main' panicked".into() };
    world.host.exit(id, exit);
    world.run().await;
    let failure = world.failure(id).await;
    assert_eq!((failure.exit_code, failure.out_of_memory), (Some(7), false));
    assert_eq!(failure.log_tail, "thread 'main' panicked");
    assert!(failure.reason.contains('7'), "{}", failure.reason);
    world.pass(120).await;
    assert_eq!((world.host.containers().len(), world.host.count(Call::Create)), (0, 1));
    assert_eq!(world.failure(id).await, failure);
    assert_eq!(world.runtimes.failures(world.deployment).await.unwrap(), std::slice::from_ref(&failure));
    let details = world.runtimes.of_deployment(world.deployment).await.unwrap();
    assert_eq!((details[0].state.as_str(), details[0].failures), ("failed", 1));
    assert_eq!(details[0].last_failure.as_ref(), Some(&failure));
    assert!(world.runtimes.verify(id, &password).await.unwrap_err().is(problems::STOPPED));

    world.runtimes.stop(&[id]).await.unwrap();
    world.run().await;
    assert_eq!(world.state(id).await, None);
    assert_eq!(world.runtimes.failures(world.deployment).await.unwrap().len(), 1, "the failure outlives it");
}

#[tokio::test]
async fn a_container_without_memory_is_told_apart() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    assert!(world.host.run_out_of_memory(id));
    world.run().await;
    let failure = world.failure(id).await;
    assert!(failure.out_of_memory && failure.reason.contains("memory"), "{failure:?}");
}

#[tokio::test]
async fn a_container_that_somebody_removed_is_missed() {
    let mut world = World::new().await;
    let id = world.running_lobby().await;
    world.host.vanish(id);
    world.run().await;
    assert!(world.failure(id).await.reason.contains("gone"));
}

#[tokio::test]
async fn a_container_that_fails_before_its_start_is_recorded_is_noticed() {
    let mut world = World::new().await;
    world.host.fail_next(Call::Start, Fault::Hang);
    let id = world.wanted_lobby().await;
    world.run().await;
    // It runs and ends while the answer is under way.
    world.host.release();
    world.run().await;
    world.host.exit(id, Exit { code: 3, ..Exit::default() });
    world.run().await;
    assert_eq!(world.failure(id).await.exit_code, Some(3));
}

#[tokio::test]
async fn an_image_is_pulled_once() {
    let mut world = World::new().await;
    let ids = [world.wanted_lobby().await, world.wanted_lobby().await];
    world.run().await;
    world.runtimes.stop(&ids).await.unwrap();
    world.run().await;
    let third = world.running_lobby().await;
    assert_eq!((world.host.count(Call::Pull), world.tokens.0.load(Ordering::SeqCst)), (1, 1));
    assert!(world.is_running(third).await);
}

#[tokio::test]
async fn an_image_that_was_cleared_away_is_pulled_again() {
    let mut world = World::new().await;
    let first = world.running_lobby().await;
    world.runtimes.stop(&[first]).await.unwrap();
    world.run().await;
    world.host.forget_images();
    let id = world.wanted_lobby().await;
    world.run().await;
    assert_eq!(world.attempts(id).await, 1);
    world.pass(1).await;
    assert!(world.is_running(id).await);
    assert_eq!(world.host.count(Call::Pull), 2);
}

#[tokio::test]
async fn matches_start_before_lobbies_and_only_so_many_at_once() {
    let mut world = World::new().await;
    let mut wanted = Vec::new();
    let small = |it| omgservers_runtimes::NewRuntime { cpu_limit: 10, memory_limit: 10, ..it };
    for _ in 0..6 {
        let new = small(world.lobby());
        world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    }
    for _ in 0..3 {
        let new = small(world.new_runtime(RuntimeQualifier::Match));
        world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
        wanted.push(new.id);
    }
    world.host.fail_always(Call::Start, Some(Fault::Hang));
    world.run().await;
    // Two cores: four starts.
    let mut begun: Vec<RuntimeId> =
        world.host.containers().iter().map(|it| it.spec.attempt.runtime).collect();
    assert_eq!(begun.len(), 4);
    begun.retain(|it| wanted.contains(it));
    assert_eq!(begun.len(), 3, "all matches are among the first");
    world.host.fail_always(Call::Start, None);
    world.host.release();
    world.run().await;
    assert_eq!(world.host.containers().iter().filter(|it| it.status == Status::Running).count(), 9);
}

#[tokio::test]
async fn others_are_told_when_a_runtime_runs_and_when_it_fails() {
    let mut world = World::new().await;
    let changed = world.runtimes.changed();
    let rang = async || tokio::time::timeout(Duration::from_millis(200), changed.rung()).await.is_ok();
    let id = world.running_lobby().await;
    assert!(rang().await);
    world.run().await;
    assert!(!rang().await, "nothing changed");
    world.host.exit(id, Exit::default());
    world.run().await;
    assert!(rang().await);
}

#[tokio::test]
async fn wanted_are_those_that_should_run() {
    let mut world = World::new().await;
    let (runs, fails, stops) =
        (world.running_lobby().await, world.running_lobby().await, world.wanted_lobby().await);
    world.host.exit(fails, Exit::default());
    world.run().await;
    world.runtimes.stop(&[stops]).await.unwrap();
    let mut expected = [(runs, world.deployment), (fails, world.deployment)];
    expected.sort();
    assert_eq!(world.runtimes.wanted().await.unwrap(), expected);
}

#[tokio::test]
async fn limits_and_labels_reach_the_container() {
    let mut world = World::new().await;
    let mut new = world.lobby();
    (new.cpu_limit, new.memory_limit) = (150, 300);
    world.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    world.run().await;
    let spec = world.host.running(new.id).remove(0).spec;
    assert_eq!((spec.cpu, spec.memory), (150, 300));
    assert_eq!(spec.labels, new.labels);
    assert_eq!((spec.tenant, spec.deployment), (world.tenant, world.deployment));
    let absurd = omgservers_runtimes::NewRuntime { memory_limit: u32::MAX, ..world.lobby() };
    assert!(
        world.runtimes.create(std::slice::from_ref(&absurd)).await.unwrap_err().is(problems::WRONG_LIMITS)
    );
}

/// As in a server: the worker waits for no step, events ring it.
#[tokio::test]
async fn a_start_that_hangs_holds_up_nothing_else() {
    let world = World::with(RuntimesConfig::default()).await;
    let (stop, changed) = (CancellationToken::new(), world.runtimes.changed());
    let (reconciler, watching) = (world.runtimes.reconciler(), world.runtimes.clone());
    let registry = WorkerRegistry::new(world.ground.clock());
    let worker =
        tokio::spawn(worker::run(Box::new(reconciler), world.runtimes.doorbell(), registry, stop.clone()));
    let watcher = tokio::spawn({
        let stop = stop.clone();
        async move { watching.watch(stop).await }
    });
    world.host.fail_next(Call::Start, Fault::Hang);
    let hangs = world.wanted_lobby().await;
    while world.host.count(Call::Start) == 0 {
        tokio::task::yield_now().await;
    }
    let runs = world.wanted_lobby().await;
    let story = async {
        while !world.is_running(runs).await {
            changed.rung().await;
        }
        // Its end is heard, not found by the period.
        world.host.exit(runs, Exit { code: 5, ..Exit::default() });
        while world.is_running(runs).await {
            changed.rung().await;
        }
        world.failure(runs).await
    };
    let failure = tokio::time::timeout(Duration::from_secs(4), story).await.unwrap();
    assert_eq!(failure.exit_code, Some(5));
    assert_eq!(world.attempts(hangs).await, 0);
    stop.cancel();
    worker.await.unwrap();
    watcher.await.unwrap();
}
