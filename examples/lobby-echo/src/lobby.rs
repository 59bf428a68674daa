//! What happens in the lobby.

use std::collections::HashMap;

use omgservers_client::{
    Command, Runtime,
    api::{ClientId, Problem, interchange::AddClient},
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::log::log;

/// The field of the profile that counts messages.
const COUNTER: &str = "messages";

/// The players in the lobby.
#[derive(Debug, Default)]
pub struct Lobby {
    profiles: HashMap<ClientId, Map<String, Value>>,
}

/// What the process does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next command.
    GoOn,
    /// It is in its room from now on.
    Meet,
    /// It ends.
    Quit,
    /// It ends with an error.
    Crash,
    /// It takes memory until it is killed.
    TakeMemory,
    /// It exchanges no more.
    Hang,
}

impl Lobby {
    /// Carries a command out; answers are queued in `runtime`.
    pub fn handle(&mut self, command: Command, runtime: &mut Runtime) -> Result<Next, Problem> {
        match command {
            Command::Init { config } => log("init", &config),
            Command::AddClient(joined) => self.add(joined, runtime)?,
            Command::DeleteClient { client_id } => {
                self.profiles.remove(&client_id);
                log("left", &json!({"client": client_id, "players": self.profiles.len()}));
                runtime.broadcast(&json!({"left": client_id, "players": self.profiles.len()}))?;
            }
            Command::HandleMessage { client_id, message } => {
                return self.handle_message(client_id, &message, runtime);
            }
            other => log("ignored", &format!("{other:?}")),
        }
        Ok(Next::GoOn)
    }

    fn add(&mut self, joined: AddClient, runtime: &mut Runtime) -> Result<(), Problem> {
        let client = joined.client_id;
        // A profile that another version of the game left behind may be anything.
        let profile = serde_json::from_str(joined.profile.get()).unwrap_or_default();
        let count = counter(&profile);
        self.profiles.insert(client, profile);
        let players = self.profiles.len();
        log(
            "joined",
            &json!({"client": client, "user": joined.user_id, "group": joined.group_name, "players": players}),
        );
        runtime.respond(
            client,
            &json!({"hello": client, "runtime": runtime.id(), "qualifier": runtime.qualifier(), "count": count, "players": players}),
        )?;
        runtime.broadcast(&json!({"joined": client, "players": players}))?;
        Ok(())
    }

    fn handle_message(
        &mut self,
        client: ClientId,
        message: &RawValue,
        runtime: &mut Runtime,
    ) -> Result<Next, Problem> {
        log("message", &json!({"client": client, "bytes": message.get().len()}));
        let text: Option<String> = serde_json::from_str(message.get()).ok();
        match text.as_deref() {
            Some("crash") => return Ok(Next::Crash),
            Some("oom") => return Ok(Next::TakeMemory),
            Some("hang") => return Ok(Next::Hang),
            Some("quit") => return Ok(Next::Quit),
            Some("kick me") => runtime.kick(client)?,
            Some("stop matchmaking") => runtime.stop_matchmaking()?,
            Some("upgrade") => runtime.upgrade_connection(client)?,
            Some("meet") => {
                runtime.upgrade_connection(client)?;
                return Ok(Next::Meet);
            }
            Some(text) if text.starts_with("all: ") => {
                let text = text.strip_prefix("all: ").unwrap_or_default();
                runtime.broadcast(&json!({"from": client, "all": text}))?
            }
            Some(text) if text.starts_with("match: ") => {
                runtime.request_matchmaking(client, text.strip_prefix("match: ").unwrap_or_default())?
            }
            _ => return self.echo(client, message, runtime),
        };
        Ok(Next::GoOn)
    }

    fn echo(&mut self, client: ClientId, message: &RawValue, runtime: &mut Runtime) -> Result<Next, Problem> {
        let profile = self.profiles.entry(client).or_default();
        let count = counter(profile).saturating_add(1);
        profile.insert(COUNTER.to_owned(), count.into());
        runtime.set_profile(client, profile)?;
        runtime.respond(client, &Echo { echo: message, count })?;
        Ok(Next::GoOn)
    }
}

/// Its message goes back byte for byte.
#[derive(serde::Serialize)]
struct Echo<'a> {
    echo: &'a RawValue,
    count: u64,
}

fn counter(profile: &Map<String, Value>) -> u64 {
    profile.get(COUNTER).and_then(Value::as_u64).unwrap_or_default()
}
