//! What the pool promises, sentence by sentence.

mod common;

use common::Game;
use serde_json::json;

const DUEL: &str = r#"{"name":"duel","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}]}"#;

#[test]
fn the_ticket_that_completes_a_match_forms_it_at_once() {
    let mut game = Game::new(DUEL);
    assert!(game.add(1, 1, json!({})).is_empty());
    assert_eq!(game.add(2, 1, json!({})), ["form 0: 1>0 2>0"]);
    assert!(game.pool.is_empty());
}
