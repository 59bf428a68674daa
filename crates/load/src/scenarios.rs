//! The scenarios.

mod broadcast;
mod day;
mod dispatcher;
mod exchange;
mod life;
mod player_stream;
mod pool;
mod sign_up;
mod talk;

use std::{rc::Rc, time::Instant};

use anyhow::Context as _;

use crate::{
    crowd::{self, CrowdMember},
    net::Target,
    order::{Order, Scenario, StageRefs},
    recorder::Recorder,
};

/// A scenario that is set up.
pub(crate) trait RunningScenario {
    /// Begins the unit that is due at `at`, without waiting for anything.
    fn begin(&self, at: Instant);
    /// Gives up what is still to be done.
    fn clear(&self) {}
    /// Who plays now.
    fn members(&self) -> Vec<Rc<CrowdMember>>;
}

/// What scenarios need.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub(crate) target: Rc<Target>,
    pub(crate) recorder: Rc<Recorder>,
    /// What each message has more than it needs.
    pub(crate) padding: Rc<str>,
    pub(crate) batch: u32,
}

impl Scenario {
    /// The names of its series, the main one first.
    pub(crate) const fn series(self) -> &'static [&'static str] {
        match self {
            Self::SignUp => &["sign-up", "create-user", "create-token"],
            Self::Empty => &["interchange"],
            Self::Interchange | Self::Stream | Self::Dispatcher => &["round trip"],
            Self::Broadcast => &["delivery", "to everybody"],
            Self::Day => &["message", "sign-up", "join", "match", "return", "leave"],
        }
    }
}

/// Sets a scenario up. Errors are for people.
pub(crate) async fn prepare(
    order: &Order,
    context: RunContext,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Rc<dyn RunningScenario>> {
    let stage_refs = || order.stage_refs.as_ref().context("no stage is given");
    let scenario: Rc<dyn RunningScenario> = match order.scenario {
        Scenario::SignUp => sign_up::prepare(&context, order.players),
        Scenario::Day => Rc::new(day::DayScenario::new(context, stage_refs()?.clone(), order)),
        Scenario::Empty => {
            exchange::prepare(&context, join_players(order, &context, stage_refs()?, note).await?, true)
        }
        Scenario::Interchange => {
            exchange::prepare(&context, join_players(order, &context, stage_refs()?, note).await?, false)
        }
        Scenario::Stream => Rc::new(talk::TalkScenario::open(
            &context,
            join_players(order, &context, stage_refs()?, note).await?,
        )),
        Scenario::Dispatcher => {
            let members = join_players(order, &context, stage_refs()?, note).await?;
            Rc::new(dispatcher::DispatcherScenario::open(&context, members).await?)
        }
        Scenario::Broadcast => Rc::new(broadcast::BroadcastScenario::open(
            &context,
            join_players(order, &context, stage_refs()?, note).await?,
        )),
    };
    Ok(scenario)
}

async fn join_players(
    order: &Order,
    context: &RunContext,
    stage_refs: &StageRefs,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Rc<CrowdMember>>> {
    note(&format!("{} players sign up and go to the lobby", order.players));
    let members = crowd::join_members(&context.target, stage_refs, order.players).await?;
    let lobbies = crowd::lobbies(&members);
    if order.scenario == Scenario::Broadcast {
        crowd::in_one_lobby(lobbies)?;
    }
    note(&format!("they are in {lobbies} lobby(s)"));
    Ok(members.into_iter().map(|it| Rc::new(it.0)).collect())
}
