use omgservers_arena::{lobby::Lobby, requests::GameRequest};
use omgservers_client::{Command, api::interchange::AddClient};
use serde_json::{Value, json, value::to_raw_value};

fn lobby(profile: &Value) -> (Lobby, Vec<GameRequest>) {
    let mut lobby = Lobby::new("5".parse().unwrap());
    let joined = AddClient {
        user_id: "8".parse().unwrap(),
        client_id: "9".parse().unwrap(),
        group_name: None,
        profile: to_raw_value(profile).unwrap(),
    };
    let queued = lobby.handle(Command::AddClient(joined));
    (lobby, queued)
}

fn handle(lobby: &mut Lobby, message: &Value) -> Vec<GameRequest> {
    let message = to_raw_value(message).unwrap();
    lobby.handle(Command::HandleMessage { client_id: "9".parse().unwrap(), message })
}

#[test]
fn a_joining_client_is_greeted_with_its_profile() {
    for (profile, count, wins) in [(json!({"messages": 4, "wins": 2}), 4, 2), (json!([]), 0, 0)] {
        let (_, queued) = lobby(&profile);
        let [GameRequest::Respond(_, hello), GameRequest::Broadcast(_)] = &queued[..] else {
            panic!("{queued:?}")
        };
        assert_eq!(
            *hello,
            json!({"hello": "9", "runtime": "5", "qualifier": "LOBBY", "count": count, "players": 1, "wins": wins})
        );
    }
}

#[test]
fn a_request_to_play_goes_to_the_matchmaker_and_a_wrong_one_is_refused() {
    let (mut lobby, _) = lobby(&json!({}));
    let client = "9".parse().unwrap();
    let request = |skill| vec![GameRequest::Match { client, mode: "duel".to_owned(), skill }];
    assert_eq!(handle(&mut lobby, &json!({"play": "duel", "skill": 1480})), request(Some(1480.0)));
    assert_eq!(handle(&mut lobby, &json!({"play": "duel"})), request(None));
    for wrong in [json!({"play": 1}), json!({"play": "duel", "skill": "high"})] {
        let queued = handle(&mut lobby, &wrong);
        assert!(
            matches!(&queued[..], [GameRequest::Respond(_, it)] if it["refused"].is_string()),
            "{queued:?}"
        );
    }
}

#[test]
fn everything_else_is_echoed_and_counted() {
    let (mut lobby, _) = lobby(&json!({"messages": 41, "wins": 1}));
    let queued = handle(&mut lobby, &json!("hello"));
    let [GameRequest::Profile(_, profile), GameRequest::Respond(_, echo)] = &queued[..] else {
        panic!("{queued:?}")
    };
    assert_eq!(json!(profile), json!({"messages": 42, "wins": 1}));
    assert_eq!(*echo, json!({"echo": "hello", "count": 42}));
    assert_eq!(
        handle(&mut lobby, &json!("all: hi")),
        [GameRequest::Broadcast(json!({"from": "9", "all": "hi"}))]
    );
}
