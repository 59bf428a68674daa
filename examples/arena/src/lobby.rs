//! The lobby: it greets, echoes, and gets its players matched.

use std::collections::HashMap;

use omgservers_client::{
    Command,
    api::{ClientId, RuntimeId, interchange::AddClient},
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{log::log, requests::GameRequest};

/// The field of the profile that counts messages.
const COUNTER: &str = "messages";

/// The players in the lobby.
#[derive(Debug)]
pub struct Lobby {
    runtime: RuntimeId,
    profiles: HashMap<ClientId, Map<String, Value>>,
}

/// A request to play.
#[derive(Deserialize)]
struct Play {
    play: String,
    skill: Option<f64>,
}

impl Lobby {
    /// An empty one.
    pub fn new(runtime: RuntimeId) -> Self {
        Self { runtime, profiles: HashMap::new() }
    }

    /// Carries a command of the backend out.
    pub fn handle(&mut self, command: Command) -> Vec<GameRequest> {
        match command {
            Command::AddClient(joined) => self.add(&joined),
            Command::DeleteClient { client_id } => {
                self.profiles.remove(&client_id);
                vec![GameRequest::Broadcast(json!({"left": client_id, "players": self.profiles.len()}))]
            }
            Command::HandleMessage { client_id, message } => self.handle_message(client_id, &message),
            Command::Init { .. } => Vec::new(),
            other => {
                log("ignored", &json!(format!("{other:?}")));
                Vec::new()
            }
        }
    }

    fn add(&mut self, joined: &AddClient) -> Vec<GameRequest> {
        let client = joined.client_id;
        let profile = profile(joined);
        let (count, wins) = (number(&profile, COUNTER), number(&profile, crate::duel::WINS));
        self.profiles.insert(client, profile);
        let players = self.profiles.len();
        log("joined", &json!({"client": client, "user": joined.user_id, "players": players}));
        let greeting = json!({"hello": client, "runtime": self.runtime, "qualifier": "LOBBY",
            "count": count, "players": players, "wins": wins});
        vec![
            GameRequest::Respond(client, greeting),
            GameRequest::Broadcast(json!({"joined": client, "players": players})),
        ]
    }

    fn handle_message(&mut self, client: ClientId, message: &RawValue) -> Vec<GameRequest> {
        let value: Value = serde_json::from_str(message.get()).unwrap_or_default();
        if value.get("play").is_some() {
            return vec![match serde_json::from_value::<Play>(value) {
                Ok(Play { play: mode, skill }) => GameRequest::Match { client, mode, skill },
                Err(error) => GameRequest::Respond(client, json!({"refused": error.to_string()})),
            }];
        }
        if let Some(text) = value.as_str().and_then(|it| it.strip_prefix("all: ")) {
            return vec![GameRequest::Broadcast(json!({"from": client, "all": text}))];
        }
        let profile = self.profiles.entry(client).or_default();
        let count = number(profile, COUNTER).saturating_add(1);
        profile.insert(COUNTER.to_owned(), count.into());
        vec![
            GameRequest::Profile(client, profile.clone()),
            GameRequest::Respond(client, json!({"echo": value, "count": count})),
        ]
    }
}

/// A profile that another version of the game left behind may be anything.
pub(crate) fn profile(joined: &AddClient) -> Map<String, Value> {
    serde_json::from_str(joined.profile.get()).unwrap_or_default()
}

/// A counter of a profile.
pub(crate) fn number(profile: &Map<String, Value>, name: &str) -> u64 {
    profile.get(name).and_then(Value::as_u64).unwrap_or_default()
}
