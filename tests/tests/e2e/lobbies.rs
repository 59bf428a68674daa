//! Lobbies that crash, hang, run out of memory; deployments that replace each other.

use omgservers_client::Event;
use omgservers_tests::{Backend, Game, Studio, eventually};

use crate::flows::wait_for;

fn assigned(event: &Event) -> bool {
    matches!(event, Event::Assigned { .. })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_that_crashes_is_replaced_and_its_players_keep_their_session() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    let deployment = studio.deploy(version).await;
    let mut player = studio.player().await;
    wait_for(&mut player, assigned).await;
    player.send("crash").unwrap();
    wait_for(&mut player, assigned).await;
    player.send("still here").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("still here"))).await;
    let details = studio.details(deployment).await;
    let failure = details.failures.first().expect("the crash is on record");
    assert_eq!(failure.exit_code, Some(7), "{failure:?}");
    assert!(!failure.log_tail.is_empty(), "with the end of the log");
    assert_eq!(details.lobby_refs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_without_memory_is_recorded_as_such() {
    let backend = Backend::with(&[("OMGSERVERS__RUNTIMES__DEFAULT_MEMORY_MB", "64")]).await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    let deployment = studio.deploy(version).await;
    let mut player = studio.player().await;
    wait_for(&mut player, assigned).await;
    player.send("oom").unwrap();
    wait_for(&mut player, assigned).await;
    let failure = studio.details(deployment).await.failures.into_iter().next().unwrap();
    assert!(failure.out_of_memory, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn an_image_that_can_not_be_started_is_seen_with_its_reason_and_a_better_one_takes_its_place() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let config = r#"{"modes":[],"deployment":{"min_lobbies":1}}"#;
    let version = studio.push_game(&backend, Game::Unstartable, config).await;
    let deployment = studio.deploy(version).await;
    let failed = || async { !studio.details(deployment).await.failures.is_empty() };
    eventually("the failure is on record", failed).await;
    let failure = studio.details(deployment).await.failures.remove(0);
    assert!(failure.reason.contains("/forgotten"), "what Docker says of it: {failure:?}");
    assert_eq!((failure.out_of_memory, failure.log_tail.as_str()), (false, ""), "{failure:?}");
    assert!(backend.containers().is_empty(), "nothing of it runs");
    // The developer mends it; the next players play.
    let version = studio.push(&backend, config).await;
    studio.deploy(version).await;
    wait_for(&mut studio.player().await, assigned).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_that_hangs_is_replaced() {
    let backend = Backend::with(&[("OMGSERVERS__RUNTIMES__INACTIVE_INTERVAL_SECONDS", "5")]).await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = studio.player().await;
    let first = wait_for(&mut player, assigned).await;
    player.send("hang").unwrap();
    let second = wait_for(&mut player, assigned).await;
    assert_ne!(format!("{first:?}"), format!("{second:?}"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_newer_deployment_takes_new_players_and_the_older_one_drains() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    let first = studio.deploy(version).await;
    let mut old = studio.player().await;
    wait_for(&mut old, assigned).await;
    let second = studio.deploy(version).await;
    let mut new = studio.player().await;
    wait_for(&mut new, assigned).await;
    assert!(!studio.details(first).await.active && studio.details(second).await.active);
    old.send("I stay").unwrap();
    wait_for(&mut old, |it| matches!(it, Event::Message(raw) if raw.get().contains("I stay"))).await;
    old.send("kick me").unwrap();
    wait_for(&mut old, |it| matches!(it, Event::Disconnected { .. })).await;
    let gone = || async {
        let request = omgservers_api::entrypoint::developer::GetDeploymentDetailsRequest {
            tenant: studio.tenant.into(),
            deployment_id: first,
        };
        studio.developer.get_deployment_details(&request).await.is_err()
    };
    eventually("the drained deployment goes", gone).await;
    eventually("its container goes", async || backend.containers().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn lobbies_are_kept_warm_where_a_version_asks_for_it_and_full_ones_get_a_second_one() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let config = r#"{"modes":[],"deployment":{"min_lobbies":1,"lobby":{"max_assignments":1}}}"#;
    let version = studio.push(&backend, config).await;
    let deployment = studio.deploy(version).await;
    let running = || async {
        let details = studio.details(deployment).await;
        details.runtimes.iter().any(|it| it.state == "running")
    };
    eventually("a lobby without players", running).await;
    let (mut one, mut two) = tokio::join!(studio.player(), studio.player());
    let one = wait_for(&mut one, assigned).await;
    let two = wait_for(&mut two, assigned).await;
    assert_ne!(format!("{one:?}"), format!("{two:?}"), "one player each");
}
