//! What a player sends: numbers, and what became of them.

use std::sync::atomic::Ordering;

use omgservers_api::{
    ids::SenderSeq,
    interchange::{Outgoing, message},
};
use serde_json::value::RawValue;

use super::{
    Mode, Workload,
    bodies::{from_player, raw},
    card::Card,
};
use crate::{
    history::{Actor, Record, To},
    rng::Rng,
};

/// Messages that are sent together.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<(u64, Box<RawValue>)>);

impl Words {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn outgoing(&self) -> Vec<Outgoing<'_>> {
        self.0
            .iter()
            .map(|(number, body)| Outgoing {
                id: Some(SenderSeq(*number)),
                qualifier: message::CLIENT_OUTGOING.into(),
                body: Some(body),
            })
            .collect()
    }
}

/// The numbers of a player.
#[derive(Debug, Default)]
pub(crate) struct Outbox(u64);

impl Outbox {
    /// How much it sends now.
    pub(crate) fn appetite(workload: &Workload, card: &Card, rng: &mut Rng) -> u64 {
        match workload.mode() {
            Mode::Play if !card.mute.load(Ordering::Acquire) => rng.between(0, 4),
            Mode::FillGames if !card.filled.load(Ordering::Acquire) => workload.fill.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Makes so many new messages: they are noted, and about to be sent.
    pub(crate) fn send(&mut self, workload: &Workload, card: &Card, count: u64) -> Words {
        let numbers = self.0..self.0.saturating_add(count);
        self.0 = numbers.end;
        card.unacknowledged.fetch_add(count, Ordering::AcqRel);
        let sent = |number| Record::Sent { from: Actor::Client(card.client), number, to: To::Runtime };
        workload.log.add_all(numbers.clone().map(sent));
        numbers.clone().for_each(|it| card.sent(it));
        Words(numbers.map(|it| (it, raw(&from_player(it)))).collect())
    }

    /// They were taken.
    pub(crate) fn taken(workload: &Workload, card: &Card, words: &Words) {
        let from = Actor::Client(card.client);
        let taken = words.0.iter().map(|it| Record::Taken { from, number: it.0, surely: Vec::new() });
        workload.log.add_all(taken);
        Self::close(card, words);
    }

    /// They were refused; `first`: at the first attempt.
    pub(crate) fn refused(workload: &Workload, card: &Card, words: &Words, first: bool) {
        if first {
            let from = Actor::Client(card.client);
            workload.log.add_all(words.0.iter().map(|it| Record::Refused { from, number: it.0 }));
        }
        Self::given_up(card, words);
    }

    /// They are not sent again; they may have arrived or not.
    pub(crate) fn given_up(card: &Card, words: &Words) {
        words.0.iter().for_each(|it| card.settle(it.0));
        Self::close(card, words);
    }

    fn close(card: &Card, words: &Words) {
        let count = u64::try_from(words.0.len()).unwrap_or(0);
        card.unacknowledged.fetch_sub(count, Ordering::AcqRel);
    }
}
