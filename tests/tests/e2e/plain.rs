//! The game servers of `examples/` that use no SDK. They were written from `docs/protocol.md`.

use std::process::{Child, Command, Stdio};

use omgservers_client::{Event, Session};
use omgservers_tests::{Backend, Game, Studio, root};
use serde_json::{Value, json};

use crate::{flows::wait_for, raw::idle_runtimes};

/// Process of a game server; it ends with the test.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        // One that has ended by itself was noticed by its players.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Waits for a message of the game server that `wanted` accepts.
async fn message(session: &mut Session, wanted: impl Fn(&Value) -> bool) -> Value {
    let read = |event: &Event| match event {
        Event::Message(raw) => serde_json::from_str::<Value>(raw.get()).ok(),
        _ => None,
    };
    let event = wait_for(session, |it| read(it).is_some_and(|it| wanted(&it))).await;
    read(&event).unwrap()
}

/// Starts the script in place of a lobby's game server and lets two players meet there.
async fn two_players_meet(program: &str, script: &str) {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let config = r#"{"modes":[],"deployment":{"min_lobbies":1}}"#;
    let version = studio.push_game(&backend, Game::IdleRuntime, config).await;
    studio.deploy(version).await;
    let lobby = idle_runtimes(&backend, "LOBBY", 1).await.remove(0);
    let mut command = Command::new(program);
    command
        .arg(root().join(script))
        .env("OMGSERVERS_SERVICE_URL", backend.url())
        .env("OMGSERVERS_RUNTIME_ID", lobby.id.to_string())
        .env("OMGSERVERS_PASSWORD", &lobby.password)
        .env("OMGSERVERS_RUNTIME_QUALIFIER", lobby.qualifier.to_string())
        .stdin(Stdio::null());
    let _script = Script(command.spawn().unwrap_or_else(|it| panic!("{program} (run `make setup`): {it}")));

    let mut one = studio.player().await;
    let welcome = message(&mut one, |it| it["welcome"].is_string()).await;
    assert_eq!(welcome, json!({"welcome": one.client_id()}));
    let mut two = studio.player().await;
    message(&mut two, |it| it["welcome"].is_string()).await;
    for session in [&mut one, &mut two] {
        message(session, |it| it["players"] == 2).await;
    }
    for number in 0..3 {
        two.send(&json!({"move": [number, "\u{fc}"]})).unwrap();
    }
    for number in 0..3 {
        let echo = message(&mut two, |it| !it["echo"].is_null()).await;
        assert_eq!(echo, json!({"echo": {"move": [number, "\u{fc}"]}}));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn two_players_meet_on_a_game_server_in_plain_python() {
    two_players_meet("python3", "examples/plain-python/game.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn two_players_meet_on_a_game_server_in_plain_javascript() {
    two_players_meet("node", "examples/plain-js/game.mjs").await;
}
