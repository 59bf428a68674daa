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
    /// When something that the client said afterwards was known to be durable; then the assignment is.
    settled: Option<u64>,
}

#[derive(Debug, Default)]
struct Client {
    assigned: Vec<Assignment>,
    /// Game servers that heard the client before it was told of them, and since when.
    ahead: HashMap<u64, u64>,
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
        runtime: u64,
        at: u64,
        kills: &Kills,
    ) -> Option<Violation> {
        let it = self.0.get_mut(&client)?;
        let said = *it.said.get(&number)?;
        let since = it.assigned.partition_point(|it| it.heard < said).saturating_sub(1);
        let from_then_on = it.assigned.get(since..).unwrap_or_default();
        if from_then_on.iter().any(|it| it.runtime == runtime) {
            return None;
        }
        let told = it.assigned.get(since).filter(|it| it.heard < said).copied();
        let undone = |it: &Assignment| kills.may_have_undone(it.heard, it.settled, at);
        let earlier = it.assigned.get(..since).unwrap_or_default().iter().any(|it| it.runtime == runtime);
        match told {
            Some(told) if earlier && !undone(&told) => {
                let Assignment { entry, runtime: now, .. } = told;
                let sentence = format!(
                    "message {number} of client {client} was heard by runtime {runtime}, though the client had been \
                     assigned to runtime {now} (entry {entry}) before it said it"
                );
                Some(Violation::new(Kind::Assignment, sentence))
            }
            _ => {
                if !earlier {
                    it.ahead.entry(runtime).or_insert(at);
                }
                None
            }
        }
    }

    /// Clients that are with a game server which they were never told of.
    pub(super) fn untold(&self, at: u64, kills: &Kills) -> Vec<Violation> {
        let mut all = Vec::new();
        // Of a client that was told nothing at all the history doesn't know where it is.
        for (client, it) in self.0.iter().filter(|it| !it.1.assigned.is_empty()) {
            for (runtime, _) in it.ahead.iter().filter(|it| !kills.may_have_undone(*it.1, None, at)) {
                let sentence = format!("client {client} was never told that it is with runtime {runtime}");
                all.push(Violation::new(Kind::Assignment, sentence));
            }
        }
        all.sort_by(|one, other| one.sentence.cmp(&other.sentence));
        all
    }
}
