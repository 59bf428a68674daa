//! Messages to the game server and back over player streams: a player says the next one without
//! waiting for the last.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Instant,
};

use super::{
    RunContext, RunningScenario,
    player_stream::{StreamReceiver, StreamedPlayer},
};
use crate::{
    crowd::CrowdMember,
    net::CallFailure,
    recorder::Recorder,
    wire::{GameMessage, ReceivedMessage, several},
};

/// Messages that haven't come back, oldest first.
pub(super) struct InFlight {
    recorder: Rc<Recorder>,
    units: RefCell<VecDeque<(u64, Instant)>>,
}

impl InFlight {
    pub(super) fn new(recorder: &Rc<Recorder>) -> Self {
        Self { recorder: Rc::clone(recorder), units: RefCell::default() }
    }

    /// The unit of `at` is complete when `number` comes back; numbers grow.
    pub(super) fn push(&self, number: u64, at: Instant) {
        self.units.borrow_mut().push_back((number, at));
    }

    /// A number came back. What comes from one player comes back in order, so the ones before were
    /// left out.
    pub(super) fn back(&self, number: u64) {
        let mut units = self.units.borrow_mut();
        while let Some((expected, at)) = units.pop_front_if(|it| it.0 <= number) {
            if expected == number {
                self.recorder.done(0, at);
            } else {
                self.recorder.failed(0, at, "never came back");
            }
        }
    }

    /// Nothing of it comes back any more.
    pub(super) fn fail(&self, why: &CallFailure) {
        for (_, at) in self.units.take() {
            self.recorder.failed(0, at, &why.kind);
        }
    }

    /// Forgets what hasn't come back.
    pub(super) fn clear(&self) {
        self.units.borrow_mut().clear();
    }
}

impl StreamReceiver for InFlight {
    fn on_message(&self, message: &ReceivedMessage<'_>) {
        if let GameMessage::Echo(number) = message.game_message() {
            self.back(number);
        }
    }

    fn broke(&self, why: &CallFailure) {
        self.fail(why);
    }
}

struct TalkSender {
    member: Rc<CrowdMember>,
    in_flight: Rc<InFlight>,
    stream: StreamedPlayer,
}

/// The scenario.
pub(super) struct TalkScenario {
    context: RunContext,
    senders: Vec<TalkSender>,
    turn: Cell<usize>,
}

impl TalkScenario {
    pub(super) fn open(context: &RunContext, members: Vec<Rc<CrowdMember>>) -> Self {
        let sender = |member: Rc<CrowdMember>| {
            let in_flight = Rc::new(InFlight::new(&context.recorder));
            let receiver: Rc<dyn StreamReceiver> = Rc::<InFlight>::clone(&in_flight);
            TalkSender { stream: StreamedPlayer::open(&context.target, &member, receiver), member, in_flight }
        };
        let senders = members.into_iter().map(sender).collect();
        Self { context: context.clone(), senders, turn: Cell::new(0) }
    }
}

impl RunningScenario for TalkScenario {
    fn begin(&self, at: Instant) {
        self.context.recorder.begun(0, at, 1);
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let Some(sender) = self.senders.get(turn % self.senders.len().max(1)) else { return };
        let batch = self.context.batch;
        let first = sender.member.numbers(batch);
        sender.in_flight.push(first.saturating_add(batch.into()).saturating_sub(1), at);
        sender.stream.send(first, several(first, batch, &self.context.padding));
    }

    fn clear(&self) {
        self.senders.iter().for_each(|it| it.in_flight.clear());
    }

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        self.senders.iter().map(|it| Rc::clone(&it.member)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_flight(numbers: &[u64]) -> (Rc<Recorder>, InFlight) {
        let recorder = Rc::new(Recorder::new(&["round trip"]));
        recorder.open(Instant::now(), Duration::from_secs(60));
        let in_flight = InFlight::new(&recorder);
        for number in numbers {
            let at = Instant::now();
            recorder.begun(0, at, 1);
            in_flight.push(*number, at);
        }
        (recorder, in_flight)
    }

    #[test]
    fn a_unit_is_complete_when_its_last_number_is_back() {
        let (recorder, in_flight) = in_flight(&[10, 20, 30]);
        for number in [1, 9, 10, 11, 19, 20] {
            in_flight.back(number);
        }
        assert_eq!(recorder.outstanding(), 1);
        let (series, _) = recorder.close().unwrap().result(&["round trip"]);
        assert_eq!((series[0].latency.count, series[0].failed), (2, 1), "the last one got no answer");
    }

    #[test]
    fn what_is_left_out_and_what_a_broken_stream_takes_along_failed() {
        let (recorder, in_flight) = in_flight(&[1, 2, 3, 4]);
        in_flight.back(2);
        in_flight.broke(&CallFailure::closed(Some(1013)));
        assert_eq!(recorder.outstanding(), 0);
        let (series, _) = recorder.close().unwrap().result(&["round trip"]);
        let kinds: Vec<_> = series[0].failed_by_kind.iter().map(|it| (it.0.as_str(), *it.1)).collect();
        assert_eq!(kinds, [("closed with 1013", 2), ("never came back", 1)]);
    }
}
