//! A match: two seats, one bout. A pure function of its input and the time; it returns what is to
//! be done.

use std::time::Duration;

use omgservers_client::api::{ClientId, interchange::AddClient};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    lobby::{number, profile},
    requests::GameRequest,
    rules::{Bout, Move, Outcome, Side},
};

/// How long a round waits for the choices of both.
pub const ROUND: Duration = Duration::from_secs(2);
/// How long the first one who came waits until both are connected.
pub const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The field of the profile that counts duels.
pub const DUELS: &str = "duels";
/// The field of the profile that counts duels that were won.
pub const WINS: &str = "wins";

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Through the backend: kept, and delivered in order.
    Request(GameRequest),
    /// Directly to everybody.
    Show(String),
    /// Directly to one.
    Send(ClientId, String),
    /// The match has come to its end.
    Over,
}

#[derive(Debug)]
struct Seat {
    client: ClientId,
    profile: Map<String, Value>,
    /// It has connected.
    ready: bool,
    choice: Option<Move>,
    /// It has left in the bout.
    gone: bool,
}

/// The last round.
#[derive(Debug, Clone, Copy, Serialize)]
struct Last {
    red: Option<Move>,
    blue: Option<Move>,
    touch: Option<Side>,
}

/// What a player says directly.
#[derive(Deserialize)]
#[serde(untagged)]
enum PlayerMessage {
    Choice {
        round: u32,
        #[serde(rename = "move")]
        choice: Move,
    },
    Ready {
        #[serde(rename = "ready")]
        _ready: bool,
    },
}

/// A match. Times count from any moment, the same for all calls.
#[derive(Debug, Default)]
pub struct Duel {
    by_udp: bool,
    red: Option<Seat>,
    blue: Option<Seat>,
    bout: Option<Bout>,
    last: Option<Last>,
    due: Option<Duration>,
    over: bool,
}

impl Duel {
    /// An empty match whose players connect by UDP, or else through the dispatcher.
    pub fn new(by_udp: bool) -> Self {
        Self { by_udp, ..Self::default() }
    }

    /// Whether its players connect by UDP.
    pub fn is_by_udp(&self) -> bool {
        self.by_udp
    }

    /// When [`wake`](Self::wake) is to be called if nothing is heard until then.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// A player was put into the match.
    pub fn join(&mut self, joined: &AddClient, now: Duration) -> Vec<Act> {
        let client = joined.client_id;
        let wanted = if joined.group_name.as_deref() == Some("blue") { Side::Blue } else { Side::Red };
        let free = |side: &Side| self.seat(*side).is_none();
        let side = [wanted, wanted.other()].into_iter().find(free).filter(|_| self.bout.is_none());
        let Some(side) = side else { return vec![Act::Request(GameRequest::Kick(client))] };
        let seat = Seat { client, profile: profile(joined), ready: false, choice: None, gone: false };
        *self.seat_mut(side) = Some(seat);
        self.due = self.due.or(now.checked_add(READY_TIMEOUT));
        if self.by_udp { Vec::new() } else { vec![Act::Request(GameRequest::Upgrade(client))] }
    }

    /// A player has left. In a bout that gives the other one the victory.
    pub fn leave(&mut self, client: ClientId) -> Vec<Act> {
        let Some(side) = self.side(client) else { return Vec::new() };
        if self.bout.is_some() {
            if let Some(seat) = self.seat_mut(side) {
                seat.gone = true;
            }
            return self.end(Some(Outcome::Won(side.other())));
        }
        *self.seat_mut(side) = None;
        if self.red.is_none() && self.blue.is_none() {
            self.due = None;
        }
        Vec::new()
    }

    /// A player has connected, or asks how it stands.
    pub fn ready(&mut self, client: ClientId, now: Duration) -> Vec<Act> {
        let (Some(side), false) = (self.side(client), self.over) else { return Vec::new() };
        if let Some(seat) = self.seat_mut(side) {
            seat.ready = true;
        }
        if self.bout.is_some() {
            return self.state().map(|it| Act::Send(client, it)).into_iter().collect();
        }
        if ![&self.red, &self.blue].iter().all(|it| it.as_ref().is_some_and(|it| it.ready)) {
            return vec![Act::Send(client, json!({"waiting": "for the other one"}).to_string())];
        }
        self.bout = Some(Bout::default());
        self.due = now.checked_add(ROUND);
        // A bout that goes on takes nobody in.
        let stop = Act::Request(GameRequest::Stop);
        std::iter::once(stop).chain(self.state().map(Act::Show)).collect()
    }

    /// A player says something directly. What isn't allowed is answered and changes nothing.
    pub fn handle(&mut self, client: ClientId, text: &str, now: Duration) -> Vec<Act> {
        let ignored = |why: &str| vec![Act::Send(client, json!({"ignored": why}).to_string())];
        let (Some(side), false) = (self.side(client), self.over) else { return Vec::new() };
        let (round, choice) = match serde_json::from_str(text) {
            Ok(PlayerMessage::Choice { round, choice }) => (round, choice),
            Ok(PlayerMessage::Ready { .. }) => return self.ready(client, now),
            Err(_) => return ignored("that is neither a move nor `ready`"),
        };
        let Some(bout) = &self.bout else { return ignored("the bout hasn't begun") };
        if round != bout.round() {
            // Late, or said again: it learns where the bout stands.
            return self.state().map(|it| Act::Send(client, it)).into_iter().collect();
        }
        if let Err(why) = bout.check(side, choice) {
            return ignored(&why.to_string());
        }
        if let Some(seat) = self.seat_mut(side) {
            // The first choice counts.
            seat.choice = seat.choice.or(Some(choice));
        }
        if self.choice(Side::Red).is_some() && self.choice(Side::Blue).is_some() {
            return self.resolve(now);
        }
        Vec::new()
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Duration) -> Vec<Act> {
        if self.over || self.due.is_none_or(|it| now < it) {
            return Vec::new();
        }
        if self.bout.is_some() { self.resolve(now) } else { self.end(None) }
    }

    fn resolve(&mut self, now: Duration) -> Vec<Act> {
        let (red, blue) = (self.choice(Side::Red), self.choice(Side::Blue));
        let Some(bout) = &mut self.bout else { return Vec::new() };
        let touch = bout.play(red, blue);
        let outcome = bout.outcome();
        self.last = Some(Last { red, blue, touch });
        self.due = now.checked_add(ROUND);
        for seat in [&mut self.red, &mut self.blue].into_iter().flatten() {
            seat.choice = None;
        }
        let shown = self.state().map(Act::Show);
        let end = if outcome.is_some() { self.end(outcome) } else { Vec::new() };
        shown.into_iter().chain(end).collect()
    }

    /// Stores the profiles, sends the result and kicks the players to a lobby. Without an outcome
    /// there was no bout.
    fn end(&mut self, outcome: Option<Outcome>) -> Vec<Act> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        let winner = match outcome {
            Some(Outcome::Won(side)) => self.seat(side).map(|it| it.client),
            _ => None,
        };
        let mut acts = vec![Act::Request(GameRequest::Stop)];
        let result = json!({"over": {"winner": winner, "fought": outcome.is_some(), "bout": self.shown()}});
        acts.push(Act::Request(GameRequest::Broadcast(result)));
        for seat in [&mut self.red, &mut self.blue].into_iter().flatten().filter(|it| !it.gone) {
            if outcome.is_some() {
                let won = u64::from(winner == Some(seat.client));
                for (name, more) in [(DUELS, 1), (WINS, won)] {
                    let count = number(&seat.profile, name).saturating_add(more);
                    seat.profile.insert(name.to_owned(), count.into());
                }
                acts.push(Act::Request(GameRequest::Profile(seat.client, seat.profile.clone())));
            }
            acts.push(Act::Request(GameRequest::Kick(seat.client)));
        }
        acts.push(Act::Over);
        acts
    }

    /// How the bout stands, for both; `None` before it.
    pub fn state(&self) -> Option<String> {
        self.shown().map(|it| it.to_string())
    }

    fn shown(&self) -> Option<Value> {
        let bout = self.bout.as_ref()?;
        let corner = |side: Side| {
            let fencer = bout.fencer(side);
            let client = self.seat(side).map(|it| it.client);
            json!({"client": client, "at": fencer.at, "touches": fencer.touches})
        };
        Some(
            json!({"round": bout.round(), "red": corner(Side::Red), "blue": corner(Side::Blue), "last": self.last}),
        )
    }

    /// The clock of the round: its number and the milliseconds that are left, each two bytes, the
    /// higher one first.
    pub fn clock(&self, now: Duration) -> Option<[u8; 4]> {
        let round = u16::try_from(self.bout.as_ref()?.round()).ok()?.to_be_bytes();
        let left = self.due?.saturating_sub(now).as_millis();
        let left = u16::try_from(left).unwrap_or(u16::MAX).to_be_bytes();
        let ([a, b], [c, d]) = (round, left);
        Some([a, b, c, d])
    }

    fn choice(&self, side: Side) -> Option<Move> {
        self.seat(side).and_then(|it| it.choice)
    }

    fn side(&self, client: ClientId) -> Option<Side> {
        let here = |side: &Side| self.seat(*side).is_some_and(|it| it.client == client);
        [Side::Red, Side::Blue].into_iter().find(here)
    }

    fn seat(&self, side: Side) -> Option<&Seat> {
        match side {
            Side::Red => self.red.as_ref(),
            Side::Blue => self.blue.as_ref(),
        }
    }

    fn seat_mut(&mut self, side: Side) -> &mut Option<Seat> {
        match side {
            Side::Red => &mut self.red,
            Side::Blue => &mut self.blue,
        }
    }
}
