//! What a game server wants done, and what became of it.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use omgservers_api::{
    ClientId,
    ids::SenderSeq,
    interchange::{Outgoing, RejectedCommand, command},
};
use serde_json::{json, value::RawValue};

use super::{
    Workload,
    bodies::{clients, from_game, number, raw},
    card::{Card, Seat},
};
use crate::history::{Actor, Record, To};

/// What a command is about.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// One client.
    One(u64),
    /// Some. When one of them isn't there, the others still get it, and the command is refused.
    Some(BTreeSet<u64>),
    /// All, and who they were in the eyes of the game server.
    Broadcast(BTreeSet<u64>),
    Profile {
        client: u64,
        user: u64,
        value: u64,
    },
    Ticket(u64),
    Kick,
}

/// A command.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    seq: u64,
    what: What,
    qualifier: &'static str,
    body: Box<RawValue>,
    /// How often the server had gone down when it was given.
    downs: u64,
}

impl Order {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing { id: Some(SenderSeq(self.seq)), qualifier: self.qualifier.into(), body: Some(&self.body) }
    }
}

/// The commands of a game server.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    next: u64,
    queued: Vec<Order>,
    /// What is sent until it is answered, and how often it was sent.
    batch: Vec<Order>,
    attempts: u32,
    /// What was answered as carried out, and for whom. Whether it surely was shows when everything
    /// was fetched.
    unsettled: Vec<(Order, BTreeSet<u64>)>,
}

/// Most commands of a request.
const MOST: usize = 1000;

impl Orders {
    fn add(
        &mut self,
        workload: &Workload,
        seat: &Seat,
        what: What,
        qualifier: &'static str,
        body: Box<RawValue>,
    ) {
        let order = Order { seq: self.next, what, qualifier, body, downs: workload.down_count() };
        self.next = self.next.saturating_add(1);
        seat.queued.fetch_add(1, Ordering::AcqRel);
        self.queued.push(order);
    }

    /// Sends a message to one client, or to some.
    pub(crate) fn send(&mut self, workload: &Workload, seat: &Seat, to: &[ClientId]) {
        let message = from_game(seat.runtime, self.next);
        let recipients = To::Clients(to.iter().map(|it| number(*it)).collect());
        workload.log.add(Record::Sent {
            from: Actor::Runtime(seat.runtime),
            number: self.next,
            to: recipients,
        });
        match to {
            [one] => {
                let body = raw(&json!({"client_id": one, "message": message}));
                self.add(workload, seat, What::One(number(*one)), command::RESPOND_CLIENT, body);
            }
            some => {
                let body = raw(&json!({"clients": clients(some), "message": message}));
                let what = What::Some(some.iter().map(|it| number(*it)).collect());
                self.add(workload, seat, what, command::MULTICAST_MESSAGE, body);
            }
        }
    }

    /// Sends a message to all; `surely` are those that are certainly there.
    pub(crate) fn broadcast(&mut self, workload: &Workload, seat: &Seat, surely: BTreeSet<u64>) {
        let from = Actor::Runtime(seat.runtime);
        workload.log.add(Record::Sent { from, number: self.next, to: To::Members });
        let body = raw(&json!({"message": from_game(seat.runtime, self.next)}));
        self.add(workload, seat, What::Broadcast(surely), command::BROADCAST_MESSAGE, body);
    }

    /// Sets a profile to the next value.
    pub(crate) fn profile(&mut self, workload: &Workload, seat: &Seat, card: &Card) {
        let value = card.profiles.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        workload.log.add(Record::ProfileSent { user: card.user, value });
        let body = raw(&json!({"client_id": card.client_id, "profile": {"v": value}}));
        let what = What::Profile { client: card.client, user: card.user, value };
        self.add(workload, seat, what, command::SET_PROFILE, body);
    }

    /// Asks for a match.
    pub(crate) fn request_match(&mut self, workload: &Workload, seat: &Seat, card: &Card, mode: &str) {
        if card.has_ticket.swap(true, Ordering::AcqRel) {
            return;
        }
        let (client, user) = (card.client, card.user);
        workload.log.add_all([Record::TicketRequested { client }, Record::ProfileAsked { user }]);
        let body = raw(&json!({"client_id": card.client_id, "mode": mode}));
        self.add(workload, seat, What::Ticket(client), command::REQUEST_MATCHMAKING, body);
    }

    /// Sends a client away.
    pub(crate) fn kick(&mut self, workload: &Workload, seat: &Seat, card: &Card) {
        workload.log.add(Record::ProfileAsked { user: card.user });
        let body = raw(&json!({"client_id": card.client_id}));
        self.add(workload, seat, What::Kick, command::KICK_CLIENT, body);
    }

    /// What the next request holds.
    pub(crate) fn request(&mut self) -> Vec<Outgoing<'_>> {
        if self.batch.is_empty() {
            let many = self.queued.len().min(MOST);
            self.batch.extend(self.queued.drain(..many));
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.batch.iter().map(Order::outgoing).collect()
    }

    /// The request was answered. `here` are the clients that were here for sure.
    pub(crate) fn answered(
        &mut self,
        workload: &Workload,
        seat: &Seat,
        rejected: &[RejectedCommand],
        here: &BTreeSet<u64>,
    ) {
        let refused: BTreeSet<usize> = rejected.iter().map(|it| it.index).collect();
        let first = self.attempts == 1;
        let batch = std::mem::take(&mut self.batch);
        seat.queued.fetch_sub(u64::try_from(batch.len()).unwrap_or(0), Ordering::AcqRel);
        for (index, order) in batch.into_iter().enumerate() {
            match (refused.contains(&index), first) {
                (true, true) => refuse(workload, seat, &order),
                // It may have been carried out before.
                (true, false) => {}
                (false, true) if !matches!(order.what, What::Broadcast(_)) => {
                    workload.log.add_all(taken(seat, &order, BTreeSet::new()));
                }
                // A repeated command is answered as a repetition, also when the first was refused.
                // For clients that were here all the time it wasn't refused; after a kill that
                // isn't certain of any client.
                (false, _) => {
                    let surely = order.what.clients().filter(|it| here.contains(it)).collect();
                    let surely = if order.downs == workload.down_count() { surely } else { BTreeSet::new() };
                    self.unsettled.push((order, surely));
                }
            }
        }
    }

    /// A client has left: messages to all may not have reached it.
    pub(crate) fn left(&mut self, client: u64) {
        for (_, surely) in &mut self.unsettled {
            surely.remove(&client);
        }
        for order in self.queued.iter_mut().chain(&mut self.batch) {
            if let What::Broadcast(surely) = &mut order.what {
                surely.remove(&client);
            }
        }
    }

    /// Everything that waited was fetched: for those who are still here it surely was carried out.
    pub(crate) fn fetched(&mut self, workload: &Workload, seat: &Seat) {
        for (order, surely) in self.unsettled.drain(..) {
            if !surely.is_empty() || matches!(order.what, What::Broadcast(_)) {
                workload.log.add_all(taken(seat, &order, surely));
            }
        }
    }
}

impl What {
    /// Whom it is about.
    fn clients(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, some) = match self {
            Self::One(client) | Self::Ticket(client) | Self::Profile { client, .. } => (Some(*client), None),
            Self::Some(all) | Self::Broadcast(all) => (None, Some(all)),
            Self::Kick => (None, None),
        };
        one.into_iter().chain(some.into_iter().flatten().copied())
    }
}

/// It was carried out, for these of several.
fn taken(seat: &Seat, order: &Order, surely: BTreeSet<u64>) -> Option<Record> {
    let from = Actor::Runtime(seat.runtime);
    match order.what {
        What::One(_) => Some(Record::Taken { from, number: order.seq, surely: Vec::new() }),
        What::Some(_) | What::Broadcast(_) => {
            Some(Record::Taken { from, number: order.seq, surely: surely.into_iter().collect() })
        }
        What::Profile { user, value, .. } => Some(Record::ProfileTaken { user, value }),
        What::Ticket(client) => Some(Record::TicketTaken { client }),
        What::Kick => None,
    }
}

fn refuse(workload: &Workload, seat: &Seat, order: &Order) {
    let from = Actor::Runtime(seat.runtime);
    workload.log.add_all(match order.what {
        What::One(_) | What::Broadcast(_) => Some(Record::Refused { from, number: order.seq }),
        What::Profile { user, value, .. } => Some(Record::ProfileRefused { user, value }),
        What::Ticket(client) => {
            if let Some(card) = workload.card(client) {
                card.has_ticket.store(false, Ordering::Release);
            }
            Some(Record::TicketRefused { client })
        }
        What::Some(_) | What::Kick => None,
    });
}
