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
    RunContext, RunningScenario,
    life::PlayerLife,
    player_stream::{StreamReceiver, StreamedPlayer},
};
use crate::{
    crowd::{CrowdMember, SignedInUser, text},
    net::{CallFailure, HttpConnection},
    order::{Order, StageRefs},
    wire::{GameMessage, ReceivedMessage, several},
};

const MESSAGE: usize = 0;
const SIGN_UP: usize = 1;
const JOIN: usize = 2;
const MATCH: usize = 3;
const RETURN: usize = 4;
const LEAVE: usize = 5;

/// How long a player waits for an echo or for the end of its session, and for a runtime.
const ECHO: Duration = Duration::from_secs(10);
const RUNTIME: Duration = Duration::from_secs(60);
/// Messages in a match.
const IN_MATCH: usize = 3;

/// The scenario.
pub(super) struct DayScenario(Rc<Inner>);

struct Inner {
    context: RunContext,
    stage_refs: StageRefs,
    seed: u64,
    most: usize,
    mode: Option<String>,
    number: Cell<u64>,
    /// The present players, by number.
    here: RefCell<BTreeMap<u64, Here>>,
}

struct Here {
    task: Option<AbortHandle>,
    member: Option<Rc<CrowdMember>>,
}

/// What a player receives.
enum DayEvent {
    Assigned(RuntimeQualifier),
    Echo(u64),
    /// The game doesn't know what was asked for.
    Text,
    /// The ticket request ended without a match.
    Unmatched,
    Broke(CallFailure),
}

struct DayReceiver(mpsc::UnboundedSender<DayEvent>);

impl StreamReceiver for DayReceiver {
    fn on_message(&self, message: &ReceivedMessage<'_>) {
        let event = match message.qualifier {
            message::RUNTIME_ASSIGNMENT => {
                let body = serde_json::from_str::<RuntimeAssignment>(message.body.get());
                body.ok().map(|it| DayEvent::Assigned(it.runtime_qualifier))
            }
            message::MATCHMAKING_FAILURE => Some(DayEvent::Unmatched),
            _ => match message.game_message() {
                GameMessage::Echo(number) => Some(DayEvent::Echo(number)),
                GameMessage::EchoedText(_) => Some(DayEvent::Text),
                _ => None,
            },
        };
        if let Some(event) = event {
            // The player may have gone.
            let _gone = self.0.send(event);
        }
    }

    fn broke(&self, why: &CallFailure) {
        let _gone = self.0.send(DayEvent::Broke(why.clone()));
    }
}

/// A player in a session.
struct DayPlayer<'a> {
    context: &'a RunContext,
    member: Rc<CrowdMember>,
    stream: StreamedPlayer,
    events: mpsc::UnboundedReceiver<DayEvent>,
}

impl DayScenario {
    pub(super) fn new(context: RunContext, stage_refs: StageRefs, order: &Order) -> Self {
        Self(Rc::new(Inner {
            context,
            stage_refs,
            seed: order.seed,
            most: usize::try_from(order.players).unwrap_or(usize::MAX),
            mode: order.mode.clone(),
            number: Cell::new(0),
            here: RefCell::default(),
        }))
    }
}

impl RunningScenario for DayScenario {
    fn begin(&self, at: Instant) {
        let number = self.0.number.get();
        self.0.number.set(number.wrapping_add(1));
        self.0.context.recorder.begun(SIGN_UP, at, 1);
        if self.0.here.borrow().len() >= self.0.most {
            return self.0.context.recorder.failed(
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

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        self.0.here.borrow().values().filter_map(|it| it.member.clone()).collect()
    }
}

impl Inner {
    async fn live(&self, number: u64, at: Instant) -> Result<(), CallFailure> {
        let life = PlayerLife::draw(self.seed, number);
        let mut http = HttpConnection::new(&self.context.target);
        let account = self.counted(SIGN_UP, at, SignedInUser::create(&mut http)).await?;
        let mut player = self.join(number, account, &mut http).await?;
        drop(http);
        player.talk(&life.pauses).await?;
        if let Some(mode) = self.mode.as_ref().filter(|_| life.plays) {
            self.play(&mut player, mode, &life).await?;
        }
        if life.leaves {
            let at = self.begun(LEAVE);
            player.send("kick me");
            let gone = player.until(ECHO, |it| matches!(it, DayEvent::Broke(_)).then_some(()));
            self.counted(LEAVE, at, gone).await?;
        }
        Ok(())
    }

    async fn join(
        &self,
        number: u64,
        account: SignedInUser,
        http: &mut HttpConnection,
    ) -> Result<DayPlayer<'_>, CallFailure> {
        let at = self.begun(JOIN);
        let joined = async {
            let member = Rc::new(account.join(http, &self.stage_refs).await?);
            if let Some(here) = self.here.borrow_mut().get_mut(&number) {
                here.member = Some(Rc::clone(&member));
            }
            let (receiver, events) = mpsc::unbounded_channel();
            let stream = StreamedPlayer::open(&self.context.target, &member, Rc::new(DayReceiver(receiver)));
            let mut player = DayPlayer { context: &self.context, member, stream, events };
            player.assigned(RuntimeQualifier::Lobby).await?;
            Ok(player)
        };
        self.counted(JOIN, at, joined).await
    }

    /// A match, a few words in it, and the way back.
    async fn play(
        &self,
        player: &mut DayPlayer<'_>,
        mode: &str,
        life: &PlayerLife,
    ) -> Result<(), CallFailure> {
        let at = self.begun(MATCH);
        player.send(&format!("match: {mode}"));
        self.counted(MATCH, at, player.assigned(RuntimeQualifier::Match)).await?;
        player.talk(life.pauses.get(..IN_MATCH.min(life.pauses.len())).unwrap_or_default()).await?;
        let at = self.begun(RETURN);
        player.send("kick me");
        self.counted(RETURN, at, player.assigned(RuntimeQualifier::Lobby)).await
    }

    fn begun(&self, which: usize) -> Instant {
        let at = Instant::now();
        self.context.recorder.begun(which, at, 1);
        at
    }

    async fn counted<T>(
        &self,
        which: usize,
        at: Instant,
        step: impl Future<Output = Result<T, CallFailure>>,
    ) -> Result<T, CallFailure> {
        let outcome = step.await;
        match &outcome {
            Ok(_) => self.context.recorder.done(which, at),
            Err(failure) => self.context.recorder.failed(which, at, &failure.kind),
        }
        outcome
    }
}

impl DayPlayer<'_> {
    fn send(&self, what: &str) {
        self.stream.send(self.member.numbers(1), vec![text(what)]);
    }

    /// Sends a message after each pause. Its latency counts from the end of the pause.
    async fn talk(&mut self, pauses: &[Duration]) -> Result<(), CallFailure> {
        for pause in pauses {
            let at = Instant::now() + *pause;
            sleep_until(at.into()).await;
            self.context.recorder.begun(MESSAGE, at, 1);
            let number = self.member.numbers(1);
            self.stream.send(number, several(number, 1, &self.context.padding));
            let echo = self.until(ECHO, |it| matches!(it, DayEvent::Echo(it) if *it == number).then_some(()));
            match echo.await {
                Ok(()) => self.context.recorder.done(MESSAGE, at),
                Err(failure) => {
                    self.context.recorder.failed(MESSAGE, at, &failure.kind);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    async fn assigned(&mut self, kind: RuntimeQualifier) -> Result<(), CallFailure> {
        let refused = |event: &DayEvent| match event {
            DayEvent::Assigned(assigned) if *assigned == kind => Some(Ok(())),
            DayEvent::Unmatched => Some(Err(CallFailure::foreign("the wish for a match ended without one"))),
            DayEvent::Text => Some(Err(CallFailure::foreign("the game doesn't know what was asked for"))),
            DayEvent::Broke(why) => Some(Err(why.clone())),
            DayEvent::Assigned(_) | DayEvent::Echo(_) => None,
        };
        self.until(RUNTIME, refused).await?
    }

    async fn until<T>(
        &mut self,
        most: Duration,
        wanted: impl Fn(&DayEvent) -> Option<T>,
    ) -> Result<T, CallFailure> {
        let search = async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
            }
            Err(CallFailure::closed(None))
        };
        timeout(most, search).await.unwrap_or_else(|_elapsed| Err(CallFailure::timeout()))
    }
}
