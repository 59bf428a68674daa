//! What a lobby asks for, and what it and its players are answered. The test plays the lobby.

use omgservers_api::interchange::MatchmakingFailureReason as Why;
use omgservers_tests::eventually;
use serde_json::json;

use crate::{
    flows::{post, text},
    played::{PlayedFixture, fails, receives},
    raw::Server,
};

const MODES: &str = r#"{"modes":[
    {"name":"trio","min_players":3,"max_players":3,"groups":[{"name":"all","min_players":3,"max_players":3}]},
    {"name":"many","min_players":9,"max_players":9,"groups":[{"name":"all","min_players":9,"max_players":9}]}],
    "deployment":{"lobby":{"cpu_limit":10},"match":{"cpu_limit":10}}}"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn every_request_of_a_lobby_is_answered_and_its_player_gets_the_outcome() {
    let mut fixture = PlayedFixture::new(&[("OMGSERVERS__MATCHES__MAX_TICKETS", "2")], MODES).await;
    let (mut lobby, mut players) = fixture.in_lobby(3).await;

    // A queue that is full.
    lobby.requests_match(&players[0], "many").await;
    lobby.requests_match(&players[1], "many").await;
    let third = lobby.runtime.request_matchmaking(players[2].client_id(), "many").unwrap();
    assert_eq!(lobby.exchange().await, [(Some(third), "matchmaking.queue_full".to_owned())]);
    fails(&mut players[2], Why::QueueFull).await;

    // A second wish of the same client takes the place of the first, and there is room again.
    let first = players[0].ticket().await.unwrap();
    lobby.requests_match(&players[0], "trio").await;
    fails(&mut players[0], Why::Replaced).await;
    let second = players[0].ticket().await.unwrap();
    assert_eq!((first.mode.as_str(), second.mode.as_str()), ("many", "trio"));
    let message = "a second request to be matched replaces the first";
    let log = fixture.backend.log();
    let line = log.lines().find(|it| it.contains(message)).expect("the log says so");
    for id in [players[0].client_id().to_string(), first.id.to_string(), second.id.to_string()] {
        assert!(line.contains(&id), "{id} is missing in {line}");
    }
    lobby.requests_match(&players[2], "many").await;

    // What a lobby can't ask for.
    let stop = lobby.runtime.stop_matchmaking().unwrap();
    assert_eq!(lobby.exchange().await, [(Some(stop), "matchmaking.not_for_lobbies".to_owned())]);
    let long = lobby.runtime.request_matchmaking(players[0].client_id(), &"m".repeat(60_000)).unwrap();
    assert_eq!(lobby.exchange().await, [(Some(long), "matchmaking.wrong_body".to_owned())]);

    // One player has gone: the others still receive it.
    let gone = players.remove(2);
    lobby.runtime.kick(gone.client_id()).unwrap();
    lobby.misses(&gone).await;
    let everybody = [players[0].client_id(), gone.client_id(), players[1].client_id()];
    let multicast = lobby.runtime.multicast(everybody, "who is there?").unwrap();
    let (respond, after) = (
        lobby.runtime.respond(gone.client_id(), "are you?").unwrap(),
        lobby.runtime.respond(players[0].client_id(), "you are").unwrap(),
    );
    assert!(multicast < respond && respond < after);
    let not_here = |seq| (Some(seq), "matchmaking.client_not_here".to_owned());
    assert_eq!(lobby.exchange().await, [not_here(multicast), not_here(respond)]);
    receives(&mut players[0], "who is there?").await;
    receives(&mut players[0], "you are").await;
    receives(&mut players[1], "who is there?").await;

    // The same over bare HTTP: the answer names each rejected command, and the others go on.
    let server = fixture.backend.idle_runtimes().remove(0);
    let credentials = json!({"runtime_id": server.id, "password": server.password});
    let token = post(&fixture.backend, "runtime", "create-token", None, credentials).await;
    let (here, gone) = (players[0].client_id(), gone.client_id());
    let commands = json!([
        {"qualifier": "DANCE", "body": {}},
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": here}},
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": here, "message": "at last"}},
        {"qualifier": "KICK_CLIENT", "body": {"client_id": gone}},
    ]);
    let body = json!({"outgoing_commands": commands, "consumed_commands": []});
    let answer =
        post(&fixture.backend, "runtime", "interchange", Some(text(&token["api_token"])), body).await;
    let rejected = answer["rejected_commands"].as_array().unwrap();
    let codes: Vec<_> =
        rejected.iter().map(|it| (&it["index"], text(&it["qualifier"]), text(&it["code"]))).collect();
    let expected = [
        (&json!(0), "DANCE", "matchmaking.unknown_command"),
        (&json!(1), "RESPOND_CLIENT", "matchmaking.wrong_body"),
        (&json!(3), "KICK_CLIENT", "matchmaking.client_not_here"),
    ];
    assert_eq!(codes, expected);
    assert!(text(&rejected[1]["detail"]).contains("`message`"), "{rejected:?}");
    receives(&mut players[0], "at last").await;
}

/// How many connections the server has, this one included.
async fn connections(fixture: &PlayedFixture) -> f64 {
    let metrics =
        reqwest::get(format!("{}/metrics", fixture.backend.url())).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|it| it.strip_prefix("omgservers_http_connections ")).unwrap();
    line.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_request_that_was_broken_off_is_not_carried_out_again_when_it_is_repeated() {
    let mut fixture = PlayedFixture::new(&[], MODES).await;
    let (_lobby, mut players) = fixture.in_lobby(1).await;
    let lobby = Server::of(&fixture.backend, &fixture.backend.idle_runtimes().remove(0)).await;
    let body = json!({"client_id": players[0].client_id(), "mode": "many"});
    let request = json!({"id": 1_u64 << 52, "qualifier": "REQUEST_MATCHMAKING", "body": body});
    let request = json!({"outgoing_commands": [request], "consumed_commands": []});

    // The ticket can't be written for a while, and the lobby doesn't wait for that.
    let (mut sql, other) = (fixture.backend.sql().await, fixture.backend.sql().await);
    let lock = sql.transaction().await.unwrap();
    lock.batch_execute("lock table matchmaking.ticket in access exclusive mode").await.unwrap();
    let before = connections(&fixture).await + 1.0;
    {
        let asking = lobby.send(request.clone());
        let blocked = eventually("it waits for the lock", async || {
            let waiting = "select count(*) from pg_locks where not granted";
            other.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0
        });
        tokio::select! {
            answer = asking => panic!("{answer:?}"),
            () = blocked => {}
        }
    }
    eventually("the server notices", async || connections(&fixture).await < before).await;
    lock.commit().await.unwrap();
    eventually("there is a ticket", async || players[0].ticket().await.is_ok()).await;
    assert!(players[0].cancel_matchmaking().await.unwrap());
    fails(&mut players[0], Why::Cancelled).await;

    let answer = lobby.send(request).await.unwrap();
    assert!(answer.get("rejected_commands").is_none(), "{answer}");
    assert!(players[0].ticket().await.is_err(), "it was wished again");
}
