//! What the pool promises, sentence by sentence.

use omgservers_api::config::AfterTimeout;
use omgservers_matcher::{Effect, Refusal};
use serde_json::{Value, json};

use crate::{PoolFixture, client, described, id, match_id};

const DUEL: &str = r#"{"name":"duel","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}]}"#;

fn with(sizes: &str, matchmaking: &str) -> String {
    format!(r#"{{"name":"mode",{sizes},"matchmaking":{matchmaking}}}"#)
}

const TWO: &str =
    r#""min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]"#;
const TEAMS: &str = r#""min_players":4,"max_players":4,
    "groups":[{"name":"red","min_players":2,"max_players":2},{"name":"blue","min_players":2,"max_players":2}]"#;
const MANY: &str =
    r#""min_players":2,"max_players":10,"groups":[{"name":"all","min_players":2,"max_players":10}]"#;

fn skill(value: i32) -> Value {
    json!({"skill": value})
}

const NONE: [&str; 0] = [];

#[test]
fn the_ticket_that_completes_a_match_forms_it_at_once() {
    let mut game = PoolFixture::new(DUEL);
    assert_eq!(game.add(1, 1, json!({})), NONE);
    assert_eq!(game.add(2, 1, json!({})), ["form 11: 1>0 2>0"]);
    assert!(game.pool.is_empty());
}

#[test]
fn first_come_is_first_served_and_a_ticket_that_comes_back_has_its_old_place() {
    let mut game =
        PoolFixture::new(&with(TWO, r#"{"rules":[{"kind":"equal","name":"map","attribute":"map"}]}"#));
    game.limit(Some(0));
    for number in [7, 3, 5] {
        game.add(number, 1, json!({}));
    }
    assert_eq!(described(&game.limit(None)), ["form 11: 3>0 5>0"]);
    assert_eq!(game.add(2, 1, json!({})), ["form 12: 2>0 7>0"]);
}

#[test]
fn among_those_in_range_the_earliest_come_first_whatever_their_values() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":50}]}"#,
    ));
    game.limit(Some(0));
    for (number, value) in [(1, 50), (2, 90), (3, 10), (4, 500), (5, 60)] {
        game.add(number, 1, skill(value));
    }
    assert_eq!(described(&game.limit(None)), ["form 11: 1>0 2>0", "form 12: 3>0 5>0"]);
}

#[test]
fn a_range_widens_while_a_ticket_waits_and_the_strictest_ticket_decides() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":50,
            "expansions":[{"after":10,"max_difference":100},{"after":20,"max_difference":null}]}]}"#,
    ));
    game.add(1, 1, skill(1000));
    game.wait(5);
    assert_eq!(game.add(2, 1, skill(1100)), NONE);
    assert_eq!(game.wait(5), NONE, "only the first has widened");
    assert_eq!(game.wait(5), ["form 11: 1>0 2>0"]);
    game.add(3, 1, skill(0));
    game.add(4, 1, skill(9999));
    assert_eq!(game.wait(19), NONE);
    assert_eq!(game.wait(1), ["form 12: 3>0 4>0"], "null is any difference");
}

#[test]
fn all_of_a_match_lie_within_the_difference_not_just_neighbours() {
    let sizes = TWO.replace('2', "3");
    let mut game = PoolFixture::new(&with(
        &sizes,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":100}]}"#,
    ));
    game.add(1, 1, skill(0));
    game.add(2, 1, skill(100));
    assert_eq!(game.add(3, 1, skill(200)), NONE);
    assert_eq!(game.add(4, 1, skill(150)), ["form 11: 2>0 3>0 4>0"]);
}

#[test]
fn equal_attributes_keep_apart_until_both_have_given_the_rule_up() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"equal","name":"region","attribute":"region","expansion":{"after":10}}]}"#,
    ));
    game.add(1, 1, json!({"region": "eu"}));
    game.add(2, 1, json!({"region": "us"}));
    assert_eq!(game.add(3, 1, json!({})), NONE, "no region is a region of its own");
    game.pool.cancel(id(3));
    game.wait(5);
    assert_eq!(game.add(4, 1, json!({"region": 7})), NONE);
    assert_eq!(game.wait(5), ["form 11: 1>0 2>0"], "the fourth holds on to its region");
}

#[test]
fn a_party_stays_together_and_groups_are_filled_evenly() {
    let sizes = r#""min_players":4,"max_players":6,
        "groups":[{"name":"red","min_players":1,"max_players":3},{"name":"blue","min_players":1,"max_players":3}]"#;
    let mut game = PoolFixture::new(&with(sizes, r#"{"party":{"max_size":3}}"#));
    game.add(1, 1, json!({}));
    game.add(2, 2, json!({}));
    assert_eq!(game.add(3, 1, json!({})), ["form 11: 1>1 2>0 3>1"]);
    assert_eq!(game.add(4, 1, json!({})), ["fill 11: 4>0"]);
    assert_eq!(game.add(5, 1, json!({})), ["fill 11: 5>1"]);
    let refused = game.try_add(6, 4, json!({})).unwrap_err();
    assert_eq!(refused, Refusal::PartyTooLarge { size: 4, most: 3 });
}

#[test]
fn team_balance_chooses_teams_of_equal_strength() {
    let balance =
        r#"{"rules":[{"kind":"team_balance","name":"fair","attribute":"skill","max_difference":10}]}"#;
    let mut game = PoolFixture::new(&with(TEAMS, balance));
    game.add(1, 1, skill(100));
    game.add(2, 1, skill(90));
    game.add(3, 1, skill(20));
    assert_eq!(game.add(4, 1, skill(200)), NONE, "220 against 190 is 15 on average");
    let effects = game.add_for_effects(crate::ticket(5, 1, skill(10), game.now)).unwrap();
    assert_eq!(described(&effects), ["form 11: 1>0 2>1 3>1 5>0"], "without the strong one");
    let Some(Effect::Form { rationale, .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(rationale.rules[0].difference, 0.0);
    assert_eq!(rationale.rules[0].allowed, Some(10.0));
    assert_eq!(rationale.groups[1].averages[0].average, Some(55.0));
}

#[test]
fn who_waits_too_long_fails() {
    let mut game = PoolFixture::new(&with(TWO, r#"{"timeout":{"after":30,"then":"fail"}}"#));
    game.add(1, 1, json!({}));
    assert_eq!(game.wait(29), NONE);
    assert_eq!(game.wait(1), ["expire 1"]);
    assert_eq!(game.add(2, 1, json!({})), NONE);
    assert_eq!(game.pool.next_deadline(), Some(game.now.plus(30_000)));
}

#[test]
fn who_waits_too_long_is_relaxed_and_fails_later() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":0}],
            "timeout":{"after":30,"then":"relax","fail_after":60}}"#,
    ));
    game.add(1, 1, skill(1));
    game.wait(20);
    game.add(2, 1, skill(2));
    assert_eq!(game.wait(29), NONE, "the second still has its rule");
    assert_eq!(game.wait(1), ["form 11: 1>0 2>0"]);
    game.add(3, 1, skill(1));
    assert_eq!(game.wait(60), ["expire 3"]);
}

#[test]
fn who_waits_too_long_starts_smaller_if_all_of_the_match_do() {
    let sizes = r#""min_players":10,"max_players":10,
        "groups":[{"name":"red","min_players":5,"max_players":5},{"name":"blue","min_players":5,"max_players":5}]"#;
    let mut game =
        PoolFixture::new(&with(sizes, r#"{"timeout":{"after":30,"then":"start_smaller","min_players":4}}"#));
    for number in 1..=3 {
        game.add(number, 1, json!({}));
    }
    game.wait(30);
    game.add(4, 1, json!({}));
    assert_eq!(game.wait(29), NONE, "the fourth wants a full match");
    assert_eq!(game.wait(1), ["form 11: 1>0 2>1 3>0 4>1"]);
}

#[test]
fn a_match_with_room_is_filled_before_a_new_one_forms_the_oldest_first() {
    let mut game = PoolFixture::new(&with(MANY, "{}"));
    game.put(4, &[(1, 0, json!({})), (2, 0, json!({}))]);
    game.put(6, &[(3, 0, json!({})), (4, 0, json!({}))]);
    assert_eq!(game.add(1, 7, json!({})), ["fill 4: 1>0"]);
    assert_eq!(game.add(2, 2, json!({})), ["fill 6: 2>0"]);
    assert_eq!(game.add(3, 1, json!({})), ["fill 4: 3>0"]);
    game.pool.close_match(match_id(6));
    assert_eq!(game.add(4, 1, json!({})), NONE);
}

#[test]
fn a_free_seat_is_taken_at_once() {
    let mut game = PoolFixture::new(DUEL);
    game.put(1, &[(1, 0, json!({})), (2, 0, json!({}))]);
    game.add(1, 1, json!({}));
    assert_eq!(game.leave(1, client(1)), ["fill 1: 1>0"]);
    assert_eq!(game.leave(1, client(1)), NONE, "it isn't there any more");
}

#[test]
fn a_match_below_its_minimum_takes_players_only_if_they_reach_it_again() {
    let mut game = PoolFixture::new(&with(TEAMS, "{}"));
    game.put(1, &[(1, 0, json!({})), (2, 1, json!({}))]);
    assert_eq!(game.add(1, 1, json!({})), NONE);
    assert_eq!(game.add(2, 1, json!({})), ["fill 1: 1>0 2>1"]);
}

#[test]
fn a_match_that_has_its_minimum_takes_tickets_one_by_one() {
    let sizes = r#""min_players":2,"max_players":4,
        "groups":[{"name":"red","min_players":1,"max_players":2},{"name":"blue","min_players":1,"max_players":2}]"#;
    let balance =
        r#"{"rules":[{"kind":"team_balance","name":"fair","attribute":"skill","max_difference":10}]}"#;
    let mut game = PoolFixture::new(&with(sizes, balance));
    game.put(1, &[(1, 0, skill(0)), (2, 1, skill(0))]);
    assert_eq!(game.add(1, 1, skill(100)), NONE, "a strong one alone isn't fair");
    let together = game.add(2, 1, skill(100));
    assert_eq!(together, ["form 11: 1>0 2>1"], "two would be, but they don't join together");
}

#[test]
fn only_the_limits_of_those_who_join_count_in_a_running_match() {
    let mut game = PoolFixture::new(&with(
        MANY,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":50}]}"#,
    ));
    game.put(1, &[(1, 0, skill(0)), (2, 0, skill(200))]);
    assert_eq!(game.add(1, 1, skill(100)), NONE, "the match itself is too far apart for it");
    game.leave(1, client(1));
    assert_eq!(game.pool.len(), 1, "it still needs somebody within 50 of 200");
    assert_eq!(game.add(2, 1, skill(180)), ["fill 1: 2>0"]);
}

#[test]
fn with_all_matches_that_a_mode_may_have_only_free_seats_are_filled() {
    let mut game = PoolFixture::new(DUEL);
    game.put(1, &[(1, 0, json!({}))]);
    game.limit(Some(0));
    assert_eq!(game.add(1, 1, json!({})), ["fill 1: 1>0"]);
    for number in 2..6 {
        assert_eq!(game.add(number, 1, json!({})), NONE);
    }
    assert!(game.pool.explain(id(2), game.now).unwrap().held);
    assert_eq!(described(&game.limit(Some(1))), ["form 11: 2>0 3>0"], "one more, and no second");
}

#[test]
fn a_match_that_was_started_without_players_is_filled_like_a_new_one() {
    let mut game = PoolFixture::new(&with(TEAMS, "{}"));
    game.put(1, &[]);
    for number in 1..=3 {
        assert_eq!(game.add(number, 1, json!({})), NONE);
    }
    assert_eq!(game.add(4, 1, json!({})), ["fill 1: 1>0 2>1 3>0 4>1"]);
}

#[test]
fn a_ticket_that_can_never_be_matched_is_refused_with_a_reason() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"mmr","max_difference":50}]}"#,
    ));
    let mut refusal = |size, attributes| game.try_add(1, size, attributes).unwrap_err().to_string();
    assert_eq!(refusal(1, json!({})), "the attribute `mmr` is missing; the rule `skill` needs it");
    assert_eq!(
        refusal(1, json!({"mmr": "high"})),
        "the attribute `mmr` must be a number; the rule `skill` needs it"
    );
    assert_eq!(refusal(3, json!({"mmr": 1})), "a party of 3 is too large: the mode takes 2");
    assert_eq!(refusal(0, json!({"mmr": 1})), "a ticket needs at least one client");
    let now = game.now;
    let twice = crate::ticket(1, 1, json!({"mmr": 1}), now);
    let twice = omgservers_matcher::Ticket { clients: vec![client(5), client(5)], ..twice };
    assert_eq!(game.try_add_ticket(twice), Err(Refusal::ClientTwice(client(5))));
    game.add(1, 1, json!({"mmr": 1}));
    assert_eq!(game.try_add(1, 1, json!({"mmr": 1})), Err(Refusal::TicketWaits(id(1))));
    let other = crate::ticket(2, 1, json!({"mmr": 1}), now);
    let other = omgservers_matcher::Ticket { clients: vec![client(100)], ..other };
    let refused = Refusal::ClientWaits { client: client(100), ticket: id(1) };
    assert_eq!(game.try_add_ticket(other), Err(refused));
    assert_eq!(game.pool.len(), 1);
}

#[test]
fn a_client_never_gets_a_second_seat_in_a_match() {
    let mut game = PoolFixture::new(&with(MANY, "{}"));
    game.put(1, &[(100, 0, json!({})), (2, 0, json!({}))]);
    assert_eq!(game.add(1, 1, json!({})), NONE, "its client is in the only match");
    assert_eq!(game.add(2, 1, json!({})), ["fill 1: 2>0"]);
}

#[test]
fn every_ticket_can_answer_why_it_is_not_matched_yet() {
    let mut game = PoolFixture::new(&with(
        &TWO.replace('2', "4"),
        r#"{"rules":[
            {"kind":"range","name":"skill","attribute":"skill","max_difference":50,
             "expansions":[{"after":20,"max_difference":500}]},
            {"kind":"equal","name":"region","attribute":"region"}],
            "timeout":{"after":30,"then":"relax","fail_after":60}}"#,
    ));
    game.add(1, 1, json!({"skill": 1000, "region": "eu"}));
    game.add(2, 2, json!({"skill": 1040, "region": "eu"}));
    game.add(3, 1, json!({"skill": 1900, "region": "eu"}));
    game.add(4, 1, json!({"skill": 1900, "region": "us"}));
    game.wait(5);
    let why = game.pool.explain(id(1), game.now).unwrap();
    assert_eq!(why.waited_ms, 5_000);
    assert_eq!((why.pool.tickets, why.pool.players), (4, 5));
    assert_eq!((why.fitting.tickets, why.fitting.players), (2, 3));
    assert_eq!((why.players_needed, why.missing.as_str()), (1, "needs 1 more player that fits"));
    let rejected: Vec<_> = why.rejected_by.iter().map(|it| (&*it.rule, it.tickets)).collect();
    assert_eq!(rejected, [("skill", 2), ("region", 1)]);
    let next = why.next_expansion.unwrap();
    assert_eq!((next.in_ms, next.rules[0].max_difference), (15_000, Some(500.0)));
    let deadline = why.deadline.unwrap();
    assert_eq!((deadline.in_ms, deadline.then), (25_000, AfterTimeout::Relax));
    game.pool.cancel(id(2));
    game.wait(30);
    let why = game.pool.explain(id(1), game.now).unwrap();
    assert_eq!(why.deadline.unwrap().then, AfterTimeout::Fail);
    assert_eq!(game.pool.explain(id(9), game.now), None);
}

#[test]
fn every_match_can_answer_why_these_players() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":50,
            "expansions":[{"after":10,"max_difference":200}]}]}"#,
    ));
    game.add(1, 1, skill(1000));
    game.add(2, 1, skill(5000));
    game.add(3, 1, skill(1120));
    let effects = game.wait_for(10);
    let Some(Effect::Form { rationale, .. }) = effects.first() else { panic!("{effects:?}") };
    let shown = serde_json::to_value(rationale).unwrap();
    assert_eq!(
        shown,
        json!({
            "pool_tickets": 3,
            "smaller": false,
            "tickets": [
                {"ticket_id": "1", "players": 1, "waited_ms": 10_000,
                 "expansions": [{"rule": "skill", "max_difference": 200.0}]},
                {"ticket_id": "3", "players": 1, "waited_ms": 10_000,
                 "expansions": [{"rule": "skill", "max_difference": 200.0}]},
            ],
            "rules": [{"rule": "skill", "difference": 120.0, "allowed": 200.0}],
            "groups": [{"group": "all", "players": 2}],
        })
    );
}

#[test]
fn nothing_makes_it_panic_not_even_the_end_of_time() {
    let mut game = PoolFixture::new(&with(
        TWO,
        r#"{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":1e308}],
            "timeout":{"after":86400,"then":"fail"}}"#,
    ));
    for (number, value) in [(1, f64::MAX), (2, f64::MIN), (3, -0.0), (4, 0.0)] {
        let mut ticket = crate::ticket(number, 1, json!({"skill": value}), game.now);
        ticket.entered.0 = if number % 2 == 0 { i64::MIN } else { i64::MAX };
        ticket.position = u64::MAX;
        game.try_add_ticket(ticket).unwrap();
    }
    game.now = omgservers_matcher::Millis(i64::MAX);
    game.wait_for(0);
    assert!(game.pool.is_empty());
}
