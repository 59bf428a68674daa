//! What is in the messages.

use omgservers_api::{ClientId, ids::Id};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The number of an id.
pub(crate) fn number(id: impl Id) -> u64 {
    u64::try_from(id.get()).unwrap_or_default()
}

/// What a player says.
#[derive(Debug, Deserialize)]
pub(crate) struct FromPlayer {
    pub(crate) n: u64,
}

/// What a game server says.
#[derive(Debug, Deserialize)]
pub(crate) struct FromGame {
    pub(crate) r: u64,
    pub(crate) n: u64,
}

/// A profile: `{}` before one was set.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    #[serde(default)]
    pub(crate) v: u64,
}

/// The body of a player's message.
pub(crate) fn from_player(number: u64) -> Value {
    json!({"data": {"n": number, "text": "some words, as a game has them"}})
}

/// What a game server says.
pub(crate) fn from_game(runtime: u64, number: u64) -> Value {
    json!({"r": runtime, "n": number})
}

/// A set of clients.
pub(crate) fn clients(all: &[ClientId]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// JSON as the interchange takes it. What is a [`Value`] already always becomes text.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}
