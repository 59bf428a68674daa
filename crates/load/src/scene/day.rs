//! Players who come, talk, idle, are matched and leave.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use omgservers_api::{
    RuntimeQualifier,
    interchange::{RuntimeAssignment, message},
};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{sleep_until, timeout},
};

use super::{
    Scene, Stage,
    life::Life,
    voice::{Ear, Voice},
};
use crate::{
    crowd::{Account, Member, text},
    net::{Failure, Http},
    order::{Order, Place},
    wire::{Message, Spoken, several},
};

const MESSAGE: usize = 0;
const SIGN_UP: usize = 1;
const JOIN: usize = 2;
const MATCH: usize = 3;
const RETURN: usize = 4;
const LEAVE: usize = 5;

/// How long a player waits for an echo, for a goodbye, and for a runtime.
const ECHO: Duration = Duration::from_secs(10);
const RUNTIME: Duration = Duration::from_secs(60);
/// Messages in a match.
const IN_MATCH: usize = 3;

/// The scene.
pub(super) struct Day(Rc<Inner>);

struct Inner {
    stage: Stage,
    place: Place,
    seed: u64,
    most: usize,
    mode: Option<String>,
    number: Cell<u64>,
    /// Who is there, by number.
    here: RefCell<BTreeMap<u64, Here>>,
}

struct Here {
    task: Option<AbortHandle>,
    member: Option<Rc<Member>>,
}

/// What a player hears.
enum Heard {
    Assigned(RuntimeQualifier),
    Echo(u64),
    /// The game doesn't know what was asked for.
    Text,
    /// The wish for a match ended without one.
    Unmatched,
    Broke(Failure),
}

struct Hears(mpsc::UnboundedSender<Heard>);

impl Ear for Hears {
    fn hear(&self, message: &Message<'_>) {
        let heard = match message.qualifier {
            message::RUNTIME_ASSIGNMENT => {
                let body = serde_json::from_str::<RuntimeAssignment>(message.body.get());
                body.ok().map(|it| Heard::Assigned(it.runtime_qualifier))
            }
            message::MATCHMAKING_FAILURE => Some(Heard::Unmatched),
            _ => match message.spoken() {
                Spoken::Echo(number) => Some(Heard::Echo(number)),
                Spoken::EchoedText(_) => Some(Heard::Text),
                _ => None,
            },
        };
        if let Some(heard) = heard {
            // Nobody listens to a player who has gone.
            let _gone = self.0.send(heard);
        }
    }

    fn broke(&self, why: &Failure) {
        let _gone = self.0.send(Heard::Broke(why.clone()));
    }
}

/// A player in a session.
struct Guest<'a> {
    stage: &'a Stage,
    member: Rc<Member>,
    voice: Voice,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Day {
    pub(super) fn new(stage: Stage, place: Place, order: &Order) -> Self {
        Self(Rc::new(Inner {
            stage,
            place,
            seed: order.seed,
            most: usize::try_from(order.players).unwrap_or(usize::MAX),
            mode: order.mode.clone(),
            number: Cell::new(0),
            here: RefCell::default(),
        }))
    }
}

impl Scene for Day {
    fn begin(&self, at: Instant) {
        let number = self.0.number.get();
        self.0.number.set(number.wrapping_add(1));
        self.0.stage.recorder.begun(SIGN_UP, at, 1);
        if self.0.here.borrow().len() >= self.0.most {
            return self.0.stage.recorder.failed(
                SIGN_UP,
                at,
                "too many players at the same time (--players)",
            );
        }
        self.0.here.borrow_mut().insert(number, Here { task: None, member: None });
        let inner = Rc::clone(&self.0);
        let task = tokio::task::spawn_local(async move {
            // What went wrong is counted where it did.
            let _counted = Box::pin(inner.live(number, at)).await;
            inner.here.borrow_mut().remove(&number);
        });
        if let Some(here) = self.0.here.borrow_mut().get_mut(&number) {
            here.task = Some(task.abort_handle());
        }
    }

    fn clear(&self) {
        for here in self.0.here.borrow().values() {
            if let Some(task) = &here.task {
                task.abort();
            }
        }
    }

    fn members(&self) -> Vec<Rc<Member>> {
        self.0.here.borrow().values().filter_map(|it| it.member.clone()).collect()
    }
}

impl Inner {
    async fn live(&self, number: u64, at: Instant) -> Result<(), Failure> {
        let life = Life::draw(self.seed, number);
        let mut http = Http::new(&self.stage.target);
        let account = self.counted(SIGN_UP, at, Account::create(&mut http)).await?;
        let mut guest = self.join(number, account, &mut http).await?;
        drop(http);
        guest.talk(&life.pauses).await?;
        if let Some(mode) = self.mode.as_ref().filter(|_| life.plays) {
            self.play(&mut guest, mode, &life).await?;
        }
        if life.leaves {
            let at = self.begun(LEAVE);
            guest.say("kick me");
            let gone = guest.until(ECHO, |it| matches!(it, Heard::Broke(_)).then_some(()));
            self.counted(LEAVE, at, gone).await?;
        }
        Ok(())
    }

    async fn join(&self, number: u64, account: Account, http: &mut Http) -> Result<Guest<'_>, Failure> {
        let at = self.begun(JOIN);
        let joined = async {
            let member = Rc::new(account.join(http, &self.place).await?);
            if let Some(here) = self.here.borrow_mut().get_mut(&number) {
                here.member = Some(Rc::clone(&member));
            }
            let (ear, heard) = mpsc::unbounded_channel();
            let voice = Voice::open(&self.stage.target, &member, Rc::new(Hears(ear)));
            let mut guest = Guest { stage: &self.stage, member, voice, heard };
            guest.assigned(RuntimeQualifier::Lobby).await?;
            Ok(guest)
        };
        self.counted(JOIN, at, joined).await
    }

    /// A match, a few words in it, and the way back.
    async fn play(&self, guest: &mut Guest<'_>, mode: &str, life: &Life) -> Result<(), Failure> {
        let at = self.begun(MATCH);
        guest.say(&format!("match: {mode}"));
        self.counted(MATCH, at, guest.assigned(RuntimeQualifier::Match)).await?;
        guest.talk(life.pauses.get(..IN_MATCH.min(life.pauses.len())).unwrap_or_default()).await?;
        let at = self.begun(RETURN);
        guest.say("kick me");
        self.counted(RETURN, at, guest.assigned(RuntimeQualifier::Lobby)).await
    }

    fn begun(&self, which: usize) -> Instant {
        let at = Instant::now();
        self.stage.recorder.begun(which, at, 1);
        at
    }

    async fn counted<T>(
        &self,
        which: usize,
        at: Instant,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let outcome = step.await;
        match &outcome {
            Ok(_) => self.stage.recorder.done(which, at),
            Err(failure) => self.stage.recorder.failed(which, at, &failure.kind),
        }
        outcome
    }
}

impl Guest<'_> {
    fn say(&self, what: &str) {
        self.voice.say(self.member.numbers(1), vec![text(what)]);
    }

    /// Says a message after each pause. Its latency counts from the end of the pause.
    async fn talk(&mut self, pauses: &[Duration]) -> Result<(), Failure> {
        for pause in pauses {
            let at = Instant::now() + *pause;
            sleep_until(at.into()).await;
            self.stage.recorder.begun(MESSAGE, at, 1);
            let number = self.member.numbers(1);
            self.voice.say(number, several(number, 1, &self.stage.padding));
            let echo = self.until(ECHO, |it| matches!(it, Heard::Echo(it) if *it == number).then_some(()));
            match echo.await {
                Ok(()) => self.stage.recorder.done(MESSAGE, at),
                Err(failure) => {
                    self.stage.recorder.failed(MESSAGE, at, &failure.kind);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    async fn assigned(&mut self, kind: RuntimeQualifier) -> Result<(), Failure> {
        let refused = |it: &Heard| match it {
            Heard::Assigned(it) if *it == kind => Some(Ok(())),
            Heard::Unmatched => Some(Err(Failure::foreign("the wish for a match ended without one"))),
            Heard::Text => Some(Err(Failure::foreign("the game doesn't know what was asked for"))),
            Heard::Broke(why) => Some(Err(why.clone())),
            Heard::Assigned(_) | Heard::Echo(_) => None,
        };
        self.until(RUNTIME, refused).await?
    }

    async fn until<T>(&mut self, most: Duration, wanted: impl Fn(&Heard) -> Option<T>) -> Result<T, Failure> {
        let search = async {
            while let Some(heard) = self.heard.recv().await {
                if let Some(found) = wanted(&heard) {
                    return Ok(found);
                }
            }
            Err(Failure::closed(None))
        };
        timeout(most, search).await.unwrap_or_else(|_elapsed| Err(Failure::timeout()))
    }
}
