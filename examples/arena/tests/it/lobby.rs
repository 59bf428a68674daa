use omgservers_arena::{lobby::Lobby, say::Say};
use omgservers_client::{Command, api::interchange::AddClient};
use serde_json::{Value, json, value::to_raw_value};

fn lobby(profile: &Value) -> (Lobby, Vec<Say>) {
    let mut lobby = Lobby::new("5".parse().unwrap());
    let joined = AddClient {
        user_id: "8".parse().unwrap(),
        client_id: "9".parse().unwrap(),
        group_name: None,
        profile: to_raw_value(profile).unwrap(),
    };
    let said = lobby.handle(Command::AddClient(joined));
    (lobby, said)
}

fn hear(lobby: &mut Lobby, message: &Value) -> Vec<Say> {
    let message = to_raw_value(message).unwrap();
    lobby.handle(Command::HandleMessage { client_id: "9".parse().unwrap(), message })
}

#[test]
fn who_joins_is_greeted_with_what_the_profile_says() {
    for (profile, count, wins) in [(json!({"messages": 4, "wins": 2}), 4, 2), (json!([]), 0, 0)] {
        let (_, said) = lobby(&profile);
        let [Say::Respond(_, hello), Say::Broadcast(_)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(
            *hello,
            json!({"hello": "9", "runtime": "5", "qualifier": "LOBBY", "count": count, "players": 1, "wins": wins})
        );
    }
}

#[test]
fn a_wish_to_play_goes_to_the_matchmaker_and_a_wrong_one_is_refused() {
    let (mut lobby, _) = lobby(&json!({}));
    let client = "9".parse().unwrap();
    let wish = |skill| vec![Say::Match { client, mode: "duel".to_owned(), skill }];
    assert_eq!(hear(&mut lobby, &json!({"play": "duel", "skill": 1480})), wish(Some(1480.0)));
    assert_eq!(hear(&mut lobby, &json!({"play": "duel"})), wish(None));
    for wrong in [json!({"play": 1}), json!({"play": "duel", "skill": "high"})] {
        let said = hear(&mut lobby, &wrong);
        assert!(matches!(&said[..], [Say::Respond(_, it)] if it["refused"].is_string()), "{said:?}");
    }
}

#[test]
fn everything_else_is_echoed_and_counted() {
    let (mut lobby, _) = lobby(&json!({"messages": 41, "wins": 1}));
    let said = hear(&mut lobby, &json!("hello"));
    let [Say::Profile(_, profile), Say::Respond(_, echo)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(json!(profile), json!({"messages": 42, "wins": 1}));
    assert_eq!(*echo, json!({"echo": "hello", "count": 42}));
    assert_eq!(hear(&mut lobby, &json!("all: hi")), [Say::Broadcast(json!({"from": "9", "all": "hi"}))]);
}
