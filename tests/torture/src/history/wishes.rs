//! Wishes for a match: each that was taken ends in one way, or is open.

use std::collections::HashMap;

use super::{
    kills::Kills,
    violation::{Kind, Violation},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    None,
    Said,
    Taken,
}

#[derive(Debug, Default)]
struct Wish {
    state: State,
    /// When the last one was said, and how and when the last one ended.
    said: u64,
    ended: Option<(u64, u64)>,
}

/// Of all clients.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    clients: HashMap<u64, Wish>,
    pub(super) taken: u64,
}

impl Wishes {
    pub(super) fn said(&mut self, client: u64, at: u64) {
        let it = self.clients.entry(client).or_default();
        (it.state, it.said) = (State::Said, at);
    }

    pub(super) fn taken(&mut self, client: u64) {
        self.taken += 1;
        let it = self.clients.entry(client).or_default();
        // It may have ended before its game server was told that it was taken.
        if it.state == State::Said {
            it.state = State::Taken;
        }
    }

    pub(super) fn refused(&mut self, client: u64) {
        self.clients.entry(client).or_default().state = State::None;
    }

    /// A client was told of an end: a match, or a failure.
    pub(super) fn ended(
        &mut self,
        client: u64,
        entry: u64,
        how: &str,
        at: u64,
        kills: &Kills,
    ) -> Option<Violation> {
        let it = self.clients.entry(client).or_default();
        let before = it.ended.replace((entry, at));
        if it.state != State::None {
            it.state = State::None;
            return None;
        }
        // The end, or the answer to the wish, may not have been durable when the server was killed.
        let again = kills.may_have_undone(it.said, None, at);
        let sentence = || match before {
            Some((first, _)) => {
                format!("a wish of client {client} ended by entry {first} and again, {how}, by entry {entry}")
            }
            None => format!("client {client} never wished for a match, and {how} by entry {entry}"),
        };
        (before.is_none() || !again).then(|| Violation::new(Kind::Ticket, sentence()))
    }

    /// At rest there is no open ticket.
    pub(super) fn void(&mut self, client: u64) -> Option<Violation> {
        let it = self.clients.entry(client).or_default();
        let state = std::mem::take(&mut it.state);
        (state == State::Taken).then(|| {
            let sentence = format!("a wish of client {client} was taken; it has not ended and is not open");
            Violation::new(Kind::Ticket, sentence)
        })
    }
}
