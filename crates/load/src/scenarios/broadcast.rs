//! One player sends a message that the game server broadcasts to the lobby.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Instant,
};

use super::{
    RunContext, RunningScenario,
    player_stream::{StreamReceiver, StreamedPlayer},
};
use crate::{
    crowd::{CrowdMember, text},
    net::CallFailure,
    number::count,
    recorder::Recorder,
    wire::{GameMessage, ReceivedMessage},
};

const DELIVERY: usize = 0;
const WHOLE: usize = 1;

/// Broadcasts under way, by number: when each was due, and how many players miss it.
struct OpenBroadcasts {
    recorder: Rc<Recorder>,
    open: RefCell<HashMap<u64, (Instant, usize)>>,
}

impl StreamReceiver for OpenBroadcasts {
    fn on_message(&self, message: &ReceivedMessage<'_>) {
        let GameMessage::All(number) = message.game_message() else { return };
        let mut open = self.open.borrow_mut();
        // Others talk, too.
        let Some((at, missing)) = open.get_mut(&number) else { return };
        let at = *at;
        self.recorder.done(DELIVERY, at);
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            open.remove(&number);
            self.recorder.done(WHOLE, at);
        }
    }

    /// A player that a broadcast doesn't reach receives it over the next stream, or too late.
    fn broke(&self, _why: &CallFailure) {}
}

/// The scenario.
pub(super) struct BroadcastScenario {
    context: RunContext,
    members: Vec<(Rc<CrowdMember>, StreamedPlayer)>,
    broadcasts: Rc<OpenBroadcasts>,
    number: Cell<u64>,
}

impl BroadcastScenario {
    pub(super) fn open(context: &RunContext, members: Vec<Rc<CrowdMember>>) -> Self {
        let broadcasts =
            Rc::new(OpenBroadcasts { recorder: Rc::clone(&context.recorder), open: RefCell::default() });
        let with_stream = |member: Rc<CrowdMember>| {
            let receiver: Rc<dyn StreamReceiver> = Rc::<OpenBroadcasts>::clone(&broadcasts);
            let stream = StreamedPlayer::open(&context.target, &member, receiver);
            (member, stream)
        };
        let members = members.into_iter().map(with_stream).collect();
        Self { context: context.clone(), members, broadcasts, number: Cell::new(0) }
    }
}

impl RunningScenario for BroadcastScenario {
    fn begin(&self, at: Instant) {
        let everybody = self.members.len();
        self.context.recorder.begun(DELIVERY, at, count(everybody));
        self.context.recorder.begun(WHOLE, at, 1);
        let number = self.number.get();
        self.number.set(number.wrapping_add(1));
        let turn = usize::try_from(number).unwrap_or_default() % everybody.max(1);
        let Some((member, stream)) = self.members.get(turn) else { return };
        self.broadcasts.open.borrow_mut().insert(number, (at, everybody));
        stream.send(member.numbers(1), vec![text(&format!("all: {number} {}", self.context.padding))]);
    }

    fn clear(&self) {
        self.broadcasts.open.borrow_mut().clear();
    }

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        self.members.iter().map(|it| Rc::clone(&it.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_broadcast_is_complete_when_the_last_one_has_received_it() {
        let recorder = Rc::new(Recorder::new(&["delivery", "to everybody"]));
        recorder.open(Instant::now(), Duration::from_secs(60));
        let broadcasts = OpenBroadcasts { recorder: Rc::clone(&recorder), open: RefCell::default() };
        let at = Instant::now();
        recorder.begun(DELIVERY, at, 3);
        recorder.begun(WHOLE, at, 1);
        broadcasts.open.borrow_mut().insert(5, (at, 3));
        let on_message = |body: &str| {
            let body: &RawValue = serde_json::from_str(body).unwrap();
            broadcasts.on_message(&ReceivedMessage { id: "1", qualifier: "SERVER_OUTGOING_MESSAGE", body });
        };
        let five = r#"{"message":{"from":"9","all":"5 "}}"#;
        on_message(five);
        on_message(r#"{"message":{"from":"9","all":"6 "}}"#);
        on_message(five);
        assert_eq!(recorder.outstanding(), 2, "a delivery and the whole");
        on_message(five);
        on_message(five);
        let (series, _) = recorder.close().unwrap().result(&["delivery", "to everybody"]);
        assert_eq!((series[0].latency.count, series[1].latency.count), (3, 1));
        assert_eq!((series[0].failed, series[1].failed), (0, 0));
    }
}
