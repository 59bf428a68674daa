//! One player says something that the game server tells everybody in the lobby.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Instant,
};

use super::{
    Scene, Stage,
    voice::{Ear, Voice},
};
use crate::{
    crowd::{Member, text},
    net::Failure,
    number::count,
    recorder::Recorder,
    wire::{Message, Spoken},
};

const DELIVERY: usize = 0;
const WHOLE: usize = 1;

/// What was said, by number: when it was due, and how many haven't heard it.
struct Said {
    recorder: Rc<Recorder>,
    open: RefCell<HashMap<u64, (Instant, usize)>>,
}

impl Ear for Said {
    fn hear(&self, message: &Message<'_>) {
        let Spoken::All(number) = message.spoken() else { return };
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

    /// Whom it doesn't reach hears it over the next stream, or there is no answer in time.
    fn broke(&self, _why: &Failure) {}
}

/// The scene.
pub(super) struct Broadcast {
    stage: Stage,
    members: Vec<(Rc<Member>, Voice)>,
    said: Rc<Said>,
    number: Cell<u64>,
}

impl Broadcast {
    pub(super) fn open(stage: &Stage, members: Vec<Rc<Member>>) -> Self {
        let said = Rc::new(Said { recorder: Rc::clone(&stage.recorder), open: RefCell::default() });
        let voiced = |member: Rc<Member>| {
            let ear: Rc<dyn Ear> = Rc::<Said>::clone(&said);
            let voice = Voice::open(&stage.target, &member, ear);
            (member, voice)
        };
        let members = members.into_iter().map(voiced).collect();
        Self { stage: stage.clone(), members, said, number: Cell::new(0) }
    }
}

impl Scene for Broadcast {
    fn begin(&self, at: Instant) {
        let everybody = self.members.len();
        self.stage.recorder.begun(DELIVERY, at, count(everybody));
        self.stage.recorder.begun(WHOLE, at, 1);
        let number = self.number.get();
        self.number.set(number.wrapping_add(1));
        let turn = usize::try_from(number).unwrap_or_default() % everybody.max(1);
        let Some((member, voice)) = self.members.get(turn) else { return };
        self.said.open.borrow_mut().insert(number, (at, everybody));
        voice.say(member.numbers(1), vec![text(&format!("all: {number} {}", self.stage.padding))]);
    }

    fn clear(&self) {
        self.said.open.borrow_mut().clear();
    }

    fn members(&self) -> Vec<Rc<Member>> {
        self.members.iter().map(|it| Rc::clone(&it.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_broadcast_is_complete_when_the_last_one_has_heard_it() {
        let recorder = Rc::new(Recorder::new(&["delivery", "to everybody"]));
        recorder.open(Instant::now(), Duration::from_secs(60));
        let said = Said { recorder: Rc::clone(&recorder), open: RefCell::default() };
        let at = Instant::now();
        recorder.begun(DELIVERY, at, 3);
        recorder.begun(WHOLE, at, 1);
        said.open.borrow_mut().insert(5, (at, 3));
        let hear = |body: &str| {
            let body: &RawValue = serde_json::from_str(body).unwrap();
            said.hear(&Message { id: "1", qualifier: "SERVER_OUTGOING_MESSAGE", body });
        };
        let five = r#"{"message":{"from":"9","all":"5 "}}"#;
        hear(five);
        hear(r#"{"message":{"from":"9","all":"6 "}}"#);
        hear(five);
        assert_eq!(recorder.outstanding(), 2, "a delivery and the whole");
        hear(five);
        hear(five);
        let (series, _) = recorder.close().unwrap().result(&["delivery", "to everybody"]);
        assert_eq!((series[0].latency.count, series[1].latency.count), (3, 1));
        assert_eq!((series[0].failed, series[1].failed), (0, 0));
    }
}
