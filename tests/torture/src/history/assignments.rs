//! Assignments: a client's messages go to its assigned game server, or to a later one.

use std::collections::HashMap;

use super::{
    kills::Kills,
    violation::{Kind, Violation},
};

#[derive(Debug, Clone, Copy)]
struct Assignment {
    entry: u64,
    runtime: u64,
    received: u64,
    /// When a later message of the client was known to be durable; then the assignment is, too.
    settled: Option<u64>,
}

/// A game server has a message of a client that is not assigned to it. It may be about to be.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    at: u64,
    number: u64,
    entry: u64,
    /// Its assignment when it sent the message.
    assigned_to: Option<Assignment>,
}

#[derive(Debug, Default)]
struct Client {
    assigned: Vec<Assignment>,
    /// Game servers that received the client's messages before it was assigned to them.
    ahead: HashMap<u64, Ahead>,
    /// By number: when the client sent it.
    sent: HashMap<u64, u64>,
}

/// Of all clients.
#[derive(Debug, Default)]
pub(super) struct Assignments(HashMap<u64, Client>);

impl Assignments {
    /// A client learned its assignment.
    pub(super) fn assigned(&mut self, client: u64, entry: u64, runtime: u64, at: u64) -> Option<Violation> {
        let state = self.0.entry(client).or_default();
        state.ahead.remove(&runtime);
        let before = state.assigned.last().map(|it| it.entry);
        state.assigned.push(Assignment { entry, runtime, received: at, settled: None });
        before.filter(|it| *it >= entry).map(|before| {
            let sentence = format!(
                "client {client} was assigned to runtime {runtime} by entry {entry}, after entry {before}"
            );
            Violation::new(Kind::Reorder, sentence)
        })
    }

    pub(super) fn sent(&mut self, client: u64, number: u64, at: u64) {
        self.0.entry(client).or_default().sent.insert(number, at);
    }

    /// The client's message is durable, and so is what it had received before that.
    pub(super) fn taken(&mut self, client: u64, number: u64, at: u64) {
        let Some(state) = self.0.get_mut(&client) else { return };
        let Some(sent) = state.sent.get(&number).copied() else { return };
        for assignment in state.assigned.iter_mut().rev().skip_while(|it| it.received > sent) {
            if assignment.settled.is_some() {
                break;
            }
            assignment.settled = Some(at);
        }
    }

    /// A game server received a message of a client.
    pub(super) fn received(
        &mut self,
        client: u64,
        number: u64,
        entry: u64,
        runtime: u64,
        at: u64,
        kills: &Kills,
    ) {
        let Some(state) = self.0.get_mut(&client) else { return };
        let Some(sent) = state.sent.get(&number).copied() else { return };
        let since = state.assigned.partition_point(|it| it.received < sent).saturating_sub(1);
        if state.assigned.iter().skip(since).any(|it| it.runtime == runtime) {
            return;
        }
        let assigned_to = state.assigned.get(since).filter(|it| it.received < sent).copied();
        let is_back = state.assigned.iter().take(since).any(|it| it.runtime == runtime);
        // A kill may have undone that it was sent elsewhere.
        if is_back && assigned_to.is_some_and(|it| kills.may_have_undone(it.received, it.settled, at)) {
            return;
        }
        state.ahead.entry(runtime).or_insert(Ahead { at, number, entry, assigned_to });
    }

    /// Clients that are with a game server which was never assigned to them, or which they had
    /// left.
    pub(super) fn unannounced(&self, at: u64, kills: &Kills) -> Vec<Violation> {
        let mut all = Vec::new();
        // The history doesn't know where a client without any assignment is.
        for (client, state) in self.0.iter().filter(|it| !it.1.assigned.is_empty()) {
            for (runtime, ahead) in state.ahead.iter().filter(|it| !kills.may_have_undone(it.1.at, None, at))
            {
                let Ahead { number, entry, assigned_to, .. } = ahead;
                let assigned_to = assigned_to.map_or_else(
                    || "nowhere".to_owned(),
                    |it| format!("with runtime {} (entry {})", it.runtime, it.entry),
                );
                let sentence = format!(
                    "message {number} of client {client} was received by runtime {runtime} (entry {entry}); the client was \
                     {assigned_to} and had no other assignment"
                );
                all.push(Violation::new(Kind::Assignment, sentence));
            }
        }
        all.sort_by(|one, other| one.sentence.cmp(&other.sentence));
        all
    }
}
