//! What a player receives.

use std::{collections::HashSet, sync::atomic::Ordering};

use omgservers_api::{
    EntryId, RuntimeQualifier,
    interchange::{DisconnectionReason, Incoming, RuntimeAssignment, ToAll, message},
};

use super::{
    Workload,
    bodies::{FromGame, number},
    card::Card,
};
use crate::history::{Actor, Record};

/// What a player has received, and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    seen: HashSet<EntryId>,
    consumed: Vec<EntryId>,
}

impl Inbox {
    /// What is to be acknowledged next.
    pub(crate) fn consumed(&self) -> &[EntryId] {
        &self.consumed
    }

    /// So much was acknowledged.
    pub(crate) fn acknowledged(&mut self, count: usize) {
        self.consumed.drain(..count.min(self.consumed.len()));
    }

    /// Notes what came.
    pub(crate) fn receive(&mut self, workload: &Workload, card: &Card, incoming: &[Incoming]) {
        let mut records = Vec::with_capacity(incoming.len());
        for entry in incoming {
            let fresh = self.seen.insert(entry.id);
            if fresh || !self.consumed.contains(&entry.id) {
                self.consumed.push(entry.id);
            }
            records.extend(read(workload, card, entry, fresh));
        }
        workload.log.add_all(records);
    }
}

/// The record of an entry.
fn read(workload: &Workload, card: &Card, incoming: &Incoming, fresh: bool) -> Option<Record> {
    let (client, entry) = (card.client, number(incoming.id));
    let body = incoming.body.get();
    match incoming.qualifier.as_str() {
        message::SERVER_OUTGOING => {
            let from_game: Result<FromGame, _> =
                serde_json::from_str::<ToAll<'_>>(body).and_then(|it| serde_json::from_str(it.message.get()));
            let Ok(FromGame { r, n }) = from_game else {
                workload.odd(format!("client {client} got {body}"));
                return None;
            };
            Some(Record::Received { by: Actor::Client(client), entry, from: Actor::Runtime(r), number: n })
        }
        message::RUNTIME_ASSIGNMENT if fresh => {
            let Ok(assignment) = serde_json::from_str::<RuntimeAssignment>(body) else {
                workload.odd(format!("client {client} got {body}"));
                return None;
            };
            Some(card.assigned(entry, number(assignment.runtime_id), assignment.runtime_qualifier))
        }
        message::MATCHMAKING_FAILURE if fresh => {
            card.has_ticket.store(false, Ordering::Release);
            Some(Record::TicketFailed { client, entry })
        }
        message::DISCONNECTION_REASON if fresh => {
            let why = serde_json::from_str::<DisconnectionReason>(body);
            Some(card.ended(why.map_or_else(|it| it.to_string(), |it| format!("{:?}", it.reason))))
        }
        _ => None,
    }
}

impl Card {
    /// It learned its assignment.
    pub(crate) fn assigned(&self, entry: u64, runtime: u64, qualifier: RuntimeQualifier) -> Record {
        let is_match = qualifier == RuntimeQualifier::Match;
        self.runtime.store(runtime, Ordering::Release);
        self.mute.store(false, Ordering::Release);
        if is_match {
            self.has_ticket.store(false, Ordering::Release);
        }
        Record::Assigned { client: self.client, entry, runtime, is_match }
    }

    /// Its session is over.
    pub(crate) fn ended(&self, why: String) -> Record {
        self.over.store(true, Ordering::Release);
        Record::Ended { who: Actor::Client(self.client), why }
    }
}
