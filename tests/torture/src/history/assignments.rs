//! Assignments: what a client says goes to the game server that it was told, or to a later one.

use std::collections::HashMap;

use super::{
    kills::Kills,
    violation::{Kind, Violation},
};

#[derive(Debug, Clone, Copy)]
struct Assignment {
    entry: u64,
    runtime: u64,
    heard: u64,
    /// When something that the client said afterwards was known to be durable; then the assignment
    /// is.
    settled: Option<u64>,
}

/// A game server has heard a client that was not told that it is there. It may be about to be.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    at: u64,
    number: u64,
    entry: u64,
    /// Where it had been told to be when it said so.
    told: Option<Assignment>,
}

#[derive(Debug, Default)]
struct Client {
    assigned: Vec<Assignment>,
    /// Game servers that heard the client before it was told of them.
    ahead: HashMap<u64, Ahead>,
    /// By number: when it was said.
    said: HashMap<u64, u64>,
}

/// Of all clients.
#[derive(Debug, Default)]
pub(super) struct Assignments(HashMap<u64, Client>);

impl Assignments {
    /// A client was told where it is.
    pub(super) fn assigned(&mut self, client: u64, entry: u64, runtime: u64, at: u64) -> Option<Violation> {
        let it = self.0.entry(client).or_default();
        it.ahead.remove(&runtime);
        let before = it.assigned.last().map(|it| it.entry);
        it.assigned.push(Assignment { entry, runtime, heard: at, settled: None });
        before.filter(|it| *it >= entry).map(|before| {
            let sentence = format!(
                "client {client} was assigned to runtime {runtime} by entry {entry}, after entry {before}"
            );
            Violation::new(Kind::Reorder, sentence)
        })
    }

    pub(super) fn said(&mut self, client: u64, number: u64, at: u64) {
        self.0.entry(client).or_default().said.insert(number, at);
    }

    /// What the client said is durable, and so is what it had heard before that.
    pub(super) fn taken(&mut self, client: u64, number: u64, at: u64) {
        let Some(it) = self.0.get_mut(&client) else { return };
        let Some(said) = it.said.get(&number).copied() else { return };
        for assignment in it.assigned.iter_mut().rev().skip_while(|it| it.heard > said) {
            if assignment.settled.is_some() {
                break;
            }
            assignment.settled = Some(at);
        }
    }

    /// A game server heard a message of a client.
    pub(super) fn heard(
        &mut self,
        client: u64,
        number: u64,
        entry: u64,
        runtime: u64,
        at: u64,
        kills: &Kills,
    ) {
        let Some(it) = self.0.get_mut(&client) else { return };
        let Some(said) = it.said.get(&number).copied() else { return };
        let since = it.assigned.partition_point(|it| it.heard < said).saturating_sub(1);
        if it.assigned.iter().skip(since).any(|it| it.runtime == runtime) {
            return;
        }
        let told = it.assigned.get(since).filter(|it| it.heard < said).copied();
        let is_back = it.assigned.iter().take(since).any(|it| it.runtime == runtime);
        // A kill may have undone that it was sent elsewhere.
        if is_back && told.is_some_and(|it| kills.may_have_undone(it.heard, it.settled, at)) {
            return;
        }
        it.ahead.entry(runtime).or_insert(Ahead { at, number, entry, told });
    }

    /// Clients that are with a game server which they were never told of, or which they had left.
    pub(super) fn untold(&self, at: u64, kills: &Kills) -> Vec<Violation> {
        let mut all = Vec::new();
        // Of a client that was told nothing at all the history doesn't know where it is.
        for (client, it) in self.0.iter().filter(|it| !it.1.assigned.is_empty()) {
            for (runtime, ahead) in it.ahead.iter().filter(|it| !kills.may_have_undone(it.1.at, None, at)) {
                let Ahead { number, entry, told, .. } = ahead;
                let told = told.map_or_else(
                    || "nowhere".to_owned(),
                    |it| format!("with runtime {} (entry {})", it.runtime, it.entry),
                );
                let sentence = format!(
                    "message {number} of client {client} was heard by runtime {runtime} (entry {entry}); the client had \
                     been told that it is {told}, and was never told otherwise"
                );
                all.push(Violation::new(Kind::Assignment, sentence));
            }
        }
        all.sort_by(|one, other| one.sentence.cmp(&other.sentence));
        all
    }
}
