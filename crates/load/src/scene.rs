//! The scenarios.

mod broadcast;
mod day;
mod dispatcher;
mod exchange;
mod life;
mod pool;
mod sign_up;
mod talk;
mod voice;

use std::{rc::Rc, time::Instant};

use anyhow::Context as _;

use crate::{
    crowd::{self, Member},
    net::Target,
    order::{Order, Place, Scenario},
    recorder::Recorder,
};

/// A scenario that is set up.
pub(crate) trait Scene {
    /// Begins the unit that is due at `at`, without waiting for anything.
    fn begin(&self, at: Instant);
    /// Gives up what is still to be done.
    fn clear(&self) {}
    /// Who plays now.
    fn members(&self) -> Vec<Rc<Member>>;
}

/// What scenes need.
#[derive(Clone)]
pub(crate) struct Stage {
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
    stage: Stage,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Rc<dyn Scene>> {
    let place = || order.place.as_ref().context("no stage is given");
    let scene: Rc<dyn Scene> = match order.scenario {
        Scenario::SignUp => sign_up::prepare(&stage, order.players),
        Scenario::Day => Rc::new(day::Day::new(stage, place()?.clone(), order)),
        Scenario::Empty => exchange::prepare(&stage, gather(order, &stage, place()?, note).await?, true),
        Scenario::Interchange => {
            exchange::prepare(&stage, gather(order, &stage, place()?, note).await?, false)
        }
        Scenario::Stream => Rc::new(talk::Talk::open(&stage, gather(order, &stage, place()?, note).await?)),
        Scenario::Dispatcher => {
            let members = gather(order, &stage, place()?, note).await?;
            Rc::new(dispatcher::Dispatcher::open(&stage, members).await?)
        }
        Scenario::Broadcast => {
            Rc::new(broadcast::Broadcast::open(&stage, gather(order, &stage, place()?, note).await?))
        }
    };
    Ok(scene)
}

async fn gather(
    order: &Order,
    stage: &Stage,
    place: &Place,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Rc<Member>>> {
    note(&format!("{} players sign up and go to the lobby", order.players));
    let members = crowd::gather(&stage.target, place, order.players).await?;
    let lobbies = crowd::lobbies(&members);
    if order.scenario == Scenario::Broadcast {
        crowd::in_one_lobby(lobbies)?;
    }
    note(&format!("they are in {lobbies} lobby(s)"));
    Ok(members.into_iter().map(|it| Rc::new(it.0)).collect())
}
