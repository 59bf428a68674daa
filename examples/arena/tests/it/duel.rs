use std::time::Duration;

use omgservers_arena::{
    duel::{Act, Duel, READY_TIMEOUT, ROUND},
    requests::GameRequest,
};
use omgservers_client::api::{ClientId, interchange::AddClient};
use serde_json::{Value, json};

const RED: &str = "7";
const BLUE: &str = "8";
const START: Duration = Duration::ZERO;

fn id(text: &str) -> ClientId {
    text.parse().unwrap()
}

fn joined(client: &str, group: &str, profile: Value) -> AddClient {
    let body = json!({"user_id": "1", "client_id": client, "group_name": group, "profile": profile});
    serde_json::from_str(&body.to_string()).unwrap()
}

/// A bout that has begun.
fn begun() -> Duel {
    let mut duel = Duel::new(false);
    for (client, group, wins) in [(RED, "red", 4), (BLUE, "blue", 0)] {
        let acts = duel.join(&joined(client, group, json!({"wins": wins, "messages": 3})), START);
        assert_eq!(acts, [Act::Request(GameRequest::Upgrade(id(client)))]);
    }
    assert!(matches!(&duel.ready(id(RED), START)[..], [Act::Send(..)]), "one alone doesn't begin");
    let acts = duel.ready(id(BLUE), START);
    assert!(matches!(&acts[..], [Act::Request(GameRequest::Stop), Act::Show(_)]), "{acts:?}");
    duel
}

fn choose(duel: &mut Duel, client: &str, round: u32, choice: &str) -> Vec<Act> {
    duel.handle(id(client), &json!({"round": round, "move": choice}).to_string(), START)
}

fn round(duel: &mut Duel, round: u32, red: &str, blue: &str) -> Vec<Act> {
    assert_eq!(choose(duel, RED, round, red), []);
    choose(duel, BLUE, round, blue)
}

fn state(duel: &Duel) -> Value {
    serde_json::from_str(&duel.state().unwrap()).unwrap()
}

fn requests(acts: Vec<Act>) -> Vec<GameRequest> {
    acts.into_iter()
        .filter_map(|it| if let Act::Request(requests) = it { Some(requests) } else { None })
        .collect()
}

#[test]
fn two_touches_end_the_match_with_profiles_and_everybody_kicked() {
    let mut duel = begun();
    for (number, (red, blue)) in
        [("advance", "advance"), ("lunge", "advance"), ("advance", "advance")].into_iter().enumerate()
    {
        let acts = round(&mut duel, u32::try_from(number).unwrap() + 1, red, blue);
        assert!(matches!(&acts[..], [Act::Show(_)]), "{acts:?}");
    }
    let acts = round(&mut duel, 4, "lunge", "retreat");
    assert!(matches!(&acts[..], [Act::Show(_)]), "it missed");
    round(&mut duel, 5, "advance", "parry");
    let acts = round(&mut duel, 6, "lunge", "advance");
    assert_eq!(acts.last(), Some(&Act::Over));
    let queued = requests(acts);
    let [
        GameRequest::Stop,
        GameRequest::Broadcast(result),
        GameRequest::Profile(_, red),
        GameRequest::Kick(first),
        GameRequest::Profile(_, blue),
        GameRequest::Kick(second),
    ] = &queued[..]
    else {
        panic!("{queued:?}")
    };
    assert_eq!((*first, *second), (id(RED), id(BLUE)));
    assert_eq!((&result["over"]["winner"], &result["over"]["fought"]), (&json!(RED), &json!(true)));
    assert_eq!(json!(red), json!({"wins": 5, "duels": 1, "messages": 3}), "the rest of a profile stays");
    assert_eq!(json!(blue), json!({"wins": 0, "duels": 1, "messages": 3}));
    assert_eq!(choose(&mut duel, RED, 7, "lunge"), [], "nothing more happens");
    assert_eq!(duel.wake(ROUND * 100), []);
}

#[test]
fn what_is_not_allowed_is_answered_and_changes_nothing() {
    let mut duel = begun();
    let before = state(&duel);
    for text in ["", "lunge", r#"{"round":1,"move":"fly"}"#, r#"{"round":-1,"move":"lunge"}"#] {
        let acts = duel.handle(id(RED), text, START);
        assert!(
            matches!(&acts[..], [Act::Send(to, why)] if *to == id(RED) && why.contains("ignored")),
            "{acts:?}"
        );
    }
    let acts = choose(&mut duel, RED, 9, "lunge");
    assert!(
        matches!(&acts[..], [Act::Send(_, shown)] if shown.contains("\"round\":1")),
        "another round: {acts:?}"
    );
    assert_eq!(choose(&mut duel, "9", 1, "lunge"), [], "who isn't in the match has no say");
    assert_eq!(state(&duel), before);
    round(&mut duel, 1, "retreat", "retreat");
    round(&mut duel, 2, "retreat", "retreat");
    assert!(
        matches!(&choose(&mut duel, RED, 3, "retreat")[..], [Act::Send(_, why)] if why.contains("strip ends"))
    );
}

#[test]
fn the_first_choice_of_a_round_counts_and_who_chooses_nothing_stands_still() {
    let mut duel = begun();
    choose(&mut duel, RED, 1, "advance");
    choose(&mut duel, RED, 1, "retreat");
    assert_eq!(duel.wake(ROUND - Duration::from_millis(1)), []);
    assert!(matches!(&duel.wake(ROUND)[..], [Act::Show(_)]));
    let shown = state(&duel);
    assert_eq!((&shown["red"]["at"], &shown["blue"]["at"]), (&json!(3), &json!(6)));
    assert_eq!(shown["last"], json!({"red": "advance", "blue": null, "touch": null}));
    assert_eq!(duel.clock(ROUND), Some([0, 2, 7, 208]), "round 2, 2000 ms left");
}

#[test]
fn who_leaves_the_bout_loses_it() {
    let mut duel = begun();
    let acts = duel.leave(id(RED));
    assert_eq!(acts.last(), Some(&Act::Over));
    let queued = requests(acts);
    let [
        GameRequest::Stop,
        GameRequest::Broadcast(result),
        GameRequest::Profile(client, profile),
        GameRequest::Kick(_),
    ] = &queued[..]
    else {
        panic!("{queued:?}")
    };
    assert_eq!((&result["over"]["winner"], *client, &profile["wins"]), (&json!(BLUE), id(BLUE), &json!(1)));
    assert_eq!(duel.leave(id(BLUE)), []);
}

#[test]
fn a_seat_that_gets_free_before_the_bout_is_free_for_another_one() {
    let mut duel = Duel::new(true);
    assert_eq!(duel.join(&joined(RED, "red", json!({})), START), [], "by UDP nobody is invited");
    assert_eq!(duel.due(), Some(READY_TIMEOUT));
    assert_eq!(duel.leave(id(RED)), []);
    assert_eq!(duel.due(), None);
    for client in [RED, BLUE] {
        assert_eq!(duel.join(&joined(client, "all", json!([])), START), []);
    }
    assert_eq!(
        duel.join(&joined("9", "red", json!({})), START),
        [Act::Request(GameRequest::Kick(id("9")))],
        "it is full"
    );
}

#[test]
fn who_waits_in_vain_goes_back_and_nothing_is_counted() {
    let mut duel = Duel::new(false);
    duel.join(&joined(RED, "red", json!({})), START);
    duel.ready(id(RED), START);
    let acts = duel.wake(READY_TIMEOUT);
    assert_eq!(acts.last(), Some(&Act::Over));
    let queued = requests(acts);
    let [GameRequest::Stop, GameRequest::Broadcast(result), GameRequest::Kick(client)] = &queued[..] else {
        panic!("{queued:?}")
    };
    assert_eq!((&result["over"]["fought"], *client), (&json!(false), id(RED)));
}
