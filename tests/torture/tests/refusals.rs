//! What is the backend's own fault is no refusal. Found by the torture: a SET_PROFILE whose commit
//! was lost was answered as refused, and may have been carried out.

use std::time::Duration;

use omgservers_client::{Retry, runtime::Command};
use omgservers_tests::{Backend, Game, Studio, eventually};
use omgservers_torture::cluster::Sql;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_profile_that_can_not_be_written_is_not_refused_but_asked_for_again() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push_game(&backend, Game::IdleRuntime, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let player = studio.player().await;
    eventually("a lobby starts", async || !backend.idle_runtimes().is_empty()).await;
    let never = Retry { give_up_after: Some(Duration::ZERO), ..Retry::RUNTIME };
    let idle_runtime = backend.idle_runtimes().remove(0);
    let mut lobby = idle_runtime.runtime(backend.client()).with_retry(never);
    let mut commands = Vec::new();
    while !commands
        .iter()
        .any(|it| matches!(it, Command::AddClient(it) if it.client_id == player.client_id()))
    {
        commands = lobby.exchange(Duration::from_millis(500)).await.unwrap().commands;
    }

    let sql = Sql::embedded(&backend.data_dir()).unwrap();
    sql.query("alter table players.profile rename to away").await.unwrap();
    lobby.set_profile(player.client_id(), &serde_json::json!({"v": 1})).unwrap();
    lobby.exchange(Duration::ZERO).await.unwrap_err();
    sql.query("alter table players.away rename to profile").await.unwrap();
    assert!(lobby.exchange(Duration::ZERO).await.unwrap().rejected.is_empty());
    let stored = sql.query("select body from players.profile").await.unwrap();
    assert_eq!(stored, [[r#"{"v":1}"#]]);
}
