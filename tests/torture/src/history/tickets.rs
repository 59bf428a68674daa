//! Tickets: each that was taken ends in one way, or is open.

use std::collections::HashMap;

use super::{
    kills::Kills,
    violation::{Kind, Violation},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    None,
    Sent,
    Taken,
}

#[derive(Debug, Default)]
struct Ticket {
    state: State,
    /// When the last one was requested, and how and when the last one ended.
    sent: u64,
    ended: Option<(u64, u64)>,
}

/// Of all clients.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    clients: HashMap<u64, Ticket>,
    pub(super) taken: u64,
}

impl Tickets {
    pub(super) fn sent(&mut self, client: u64, at: u64) {
        let ticket = self.clients.entry(client).or_default();
        (ticket.state, ticket.sent) = (State::Sent, at);
    }

    pub(super) fn taken(&mut self, client: u64) {
        self.taken += 1;
        let ticket = self.clients.entry(client).or_default();
        // It may have ended before its game server learned that it was taken.
        if ticket.state == State::Sent {
            ticket.state = State::Taken;
        }
    }

    pub(super) fn refused(&mut self, client: u64) {
        self.clients.entry(client).or_default().state = State::None;
    }

    /// A client learned of an end: a match, or a failure.
    pub(super) fn ended(
        &mut self,
        client: u64,
        entry: u64,
        how: &str,
        at: u64,
        kills: &Kills,
    ) -> Option<Violation> {
        let ticket = self.clients.entry(client).or_default();
        let before = ticket.ended.replace((entry, at));
        if ticket.state != State::None {
            ticket.state = State::None;
            return None;
        }
        // The end, or the answer to the request, may not have been durable when the server was
        // killed.
        let again = kills.may_have_undone(ticket.sent, None, at);
        let sentence = || match before {
            Some((first, _)) => {
                format!(
                    "a ticket of client {client} ended by entry {first} and again, {how}, by entry {entry}"
                )
            }
            None => format!("client {client} never asked for a match, and {how} by entry {entry}"),
        };
        (before.is_none() || !again).then(|| Violation::new(Kind::Ticket, sentence()))
    }

    /// At rest there is no open ticket.
    pub(super) fn void(&mut self, client: u64) -> Option<Violation> {
        let ticket = self.clients.entry(client).or_default();
        let state = std::mem::take(&mut ticket.state);
        (state == State::Taken).then(|| {
            let sentence = format!("a ticket of client {client} was taken; it has not ended and is not open");
            Violation::new(Kind::Ticket, sentence)
        })
    }
}
