//! A bot fights a duel: over the dispatcher, or by UDP.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, bail};
use omgservers_client::{
    Event, Frame,
    api::{ClientId, interchange::DirectConnection},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval, timeout},
};

use super::guest::Guest;

/// How long a duel may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a result may be on its way when the connection has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How often it says again by UDP what wasn't answered.
const AGAIN: Duration = Duration::from_millis(100);

/// How a bot fights.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// Lunges whenever it reaches.
    Bold,
    /// Tries one thing after another.
    Playful,
}

/// How the bout stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct State {
    pub(crate) round: u32,
    pub(crate) red: Corner,
    pub(crate) blue: Corner,
    pub(crate) last: Option<Last>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Corner {
    pub(crate) client: Option<ClientId>,
    pub(crate) at: u8,
    pub(crate) touches: u8,
}

/// The last round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Last {
    pub(crate) red: Option<String>,
    pub(crate) blue: Option<String>,
    pub(crate) touch: Option<String>,
}

#[derive(Deserialize)]
struct DuelEnd {
    over: Over,
}

#[derive(Deserialize)]
struct Over {
    winner: Option<ClientId>,
    fought: bool,
    bout: Option<State>,
}

/// What a bot has seen.
#[derive(Debug, Default)]
pub(crate) struct Fight {
    /// States, each once.
    pub(crate) states: Vec<State>,
    pub(crate) winner: Option<ClientId>,
}

impl Style {
    fn choose(self, state: &State) -> &'static str {
        if state.blue.at.saturating_sub(state.red.at) > 2 {
            return "advance";
        }
        match (self, state.round % 3) {
            (Self::Bold, _) | (Self::Playful, 0) => "lunge",
            (Self::Playful, 1) => "parry",
            (Self::Playful, _) => "advance",
        }
    }
}

/// What a bot says to a state, or before the first one.
fn answer(style: Style, state: &State) -> String {
    json!({"round": state.round, "move": style.choose(state)}).to_string()
}

impl Fight {
    /// Takes in what the match shows; answers the state if it is new.
    fn see(&mut self, text: &str) -> Option<&State> {
        let state: State = serde_json::from_str(text).ok()?;
        let is_new = self.states.last().is_none_or(|it| it.round < state.round);
        if is_new {
            self.states.push(state);
            return self.states.last();
        }
        None
    }

    /// Takes in a message of the mailbox; answers whether it is the result.
    fn ends(&mut self, message: &str) -> anyhow::Result<bool> {
        let Ok(DuelEnd { over }) = serde_json::from_str(message) else { return Ok(false) };
        if !over.fought {
            bail!("the match ended before its duel had begun");
        }
        self.winner = over.winner;
        // By UDP the last state may have been lost.
        self.states
            .extend(over.bout.filter(|it| self.states.last().is_none_or(|last| last.round < it.round)));
        Ok(true)
    }
}

/// Fights over the dispatcher.
pub(crate) async fn by_room(guest: &mut Guest, style: Style) -> anyhow::Result<Fight> {
    let name = guest.name;
    let fight = async {
        let mut fight = Fight::default();
        loop {
            match guest.next().await? {
                Event::DispatcherConnected => {
                    guest.session.send_unreliable(json!({"ready": true}).to_string())?
                }
                Event::Frame(Frame::Text(text)) => {
                    if let Some(state) = fight.see(&text) {
                        guest.session.send_unreliable(answer(style, state))?;
                    }
                }
                Event::Message(message) if fight.ends(message.get())? => return Ok(fight),
                Event::DispatcherDisconnected { reason } => {
                    // The match may be over, and its result on the way.
                    let result = guest.receives("the result", |it| it.get("over").is_some());
                    let Ok(result) = timeout(GRACE, result).await else {
                        bail!("{name}'s connection through the dispatcher ended: {reason}")
                    };
                    fight.ends(&result?)?;
                    return Ok(fight);
                }
                _ => {}
            }
        }
    };
    timeout(TIMEOUT, fight).await.with_context(|| format!("{name}'s duel didn't come to an end"))?
}

/// Fights by UDP: the token first, then each choice until it was heard.
pub(crate) async fn by_udp(
    guest: &mut Guest,
    style: Style,
    direct: &DirectConnection,
) -> anyhow::Result<Fight> {
    let name = guest.name;
    let port = direct.ports.iter().find(|it| it.name == "game").context("no port is published")?.port;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((direct.address.as_str(), port)).await?;
    let fight = async {
        let mut fight = Fight::default();
        let mut sending = direct.token.clone();
        let mut buffer = vec![0; 2048];
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A host that refuses it now may not the next time.
                _ = again.tick() => drop(socket.send(sending.as_bytes()).await),
                received = socket.recv(&mut buffer) => {
                    let datagram = received.ok().and_then(|length| buffer.get(..length)).unwrap_or_default();
                    if let Some(state) = fight.see(&String::from_utf8_lossy(datagram)) {
                        sending = answer(style, state);
                        again.reset_immediately();
                    }
                }
                event = guest.next() => {
                    if let Event::Message(message) = event? && fight.ends(message.get())? {
                        return Ok(fight);
                    }
                }
            }
        }
    };
    timeout(TIMEOUT, fight).await.with_context(|| format!("{name}'s duel didn't come to an end"))?
}

/// The rounds for people, one a line.
pub(crate) fn rounds(fight: &Fight, guests: [&Guest; 2]) -> String {
    let name = |client: Option<ClientId>| {
        guests.iter().find(|it| Some(it.id()) == client).map_or("nobody", |it| it.name)
    };
    let mut lines: Vec<String> = fight.states.iter().filter_map(|it| line(it, name)).collect();
    lines.push(format!("the winner is {}", name(fight.winner)));
    lines.join("\n")
}

fn line(state: &State, name: impl Fn(Option<ClientId>) -> &'static str) -> Option<String> {
    let last = state.last.as_ref()?;
    let (red, blue) = (name(state.red.client), name(state.blue.client));
    let choice = |it: &Option<String>| it.clone().unwrap_or_else(|| "wait".to_owned());
    let touch = match last.touch.as_deref() {
        Some("red") => format!(", touch for {red}"),
        Some(_) => format!(", touch for {blue}"),
        None => String::new(),
    };
    Some(format!(
        "round {}: {red} {}, {blue} {}{touch}; on {} and {}, {}:{}",
        state.round.saturating_sub(1),
        choice(&last.red),
        choice(&last.blue),
        state.red.at,
        state.blue.at,
        state.red.touches,
        state.blue.touches,
    ))
}

/// What the lobby says of a player who comes back.
pub(crate) fn wins(greeting: &str) -> Option<u64> {
    serde_json::from_str::<Value>(greeting).ok()?.get("wins")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(round: u32, red: u8, blue: u8) -> State {
        let corner = |at| Corner { client: None, at, touches: 0 };
        State { round, red: corner(red), blue: corner(blue), last: None }
    }

    #[test]
    fn bots_walk_until_they_reach_each_other() {
        assert_eq!(
            (Style::Bold.choose(&state(1, 2, 6)), Style::Playful.choose(&state(1, 2, 6))),
            ("advance", "advance")
        );
        assert_eq!(Style::Bold.choose(&state(2, 3, 5)), "lunge");
        let playful: Vec<_> = (0..3).map(|round| Style::Playful.choose(&state(round, 3, 5))).collect();
        assert_eq!(playful, ["lunge", "parry", "advance"]);
    }

    #[test]
    fn a_state_that_comes_again_or_late_is_passed_over() {
        let text = |round: u32| {
            json!({"round": round, "red": {"client": "7", "at": 2, "touches": 0},
                "blue": {"client": "8", "at": 6, "touches": 1}, "last": {"red": "lunge", "blue": null, "touch": "blue"}})
            .to_string()
        };
        let mut fight = Fight::default();
        assert!(fight.see(&text(2)).is_some());
        assert!(fight.see(&text(2)).is_none() && fight.see(&text(1)).is_none() && fight.see("{}").is_none());
        let output = line(&fight.states[0], |it| if it == "7".parse().ok() { "Ann" } else { "Bob" });
        assert_eq!(output.as_deref(), Some("round 1: Ann lunge, Bob wait, touch for Bob; on 2 and 6, 0:1"));
    }

    #[test]
    fn the_result_has_the_last_state_and_a_match_without_a_duel_is_a_failure() {
        let mut fight = Fight::default();
        assert!(!fight.ends(r#"{"joined":"7"}"#).unwrap());
        let bout = r#"{"round":9,"red":{"client":"7","at":2,"touches":2},"blue":{"client":"8","at":6,"touches":1},"last":null}"#;
        assert!(fight.ends(&format!(r#"{{"over":{{"winner":"7","fought":true,"bout":{bout}}}}}"#)).unwrap());
        assert_eq!((fight.states.len(), fight.winner), (1, "7".parse().ok()));
        assert!(fight.ends(r#"{"over":{"winner":null,"fought":false,"bout":null}}"#).is_err());
    }
}
