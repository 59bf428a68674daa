//! Interchanges: empty ones, and messages to the game server and back.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{RunContext, RunningScenario, pool::WaitingUnits};
use crate::{
    crowd::{CrowdMember, read},
    net::{CallFailure, HttpConnection},
    wire::{GameMessage, RequestBody, several},
};

/// A player that sends nothing for so long makes an empty interchange: the backend ends idle
/// sessions after 30 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);
/// How long an interchange waits for the echo, ms.
const WAIT: u32 = 10_000;
/// How often it may have to wait again: other messages come, too.
const MOST_TURNS: usize = 50;

struct ExchangeScenario {
    context: RunContext,
    pool: Rc<WaitingUnits>,
    members: Vec<Rc<CrowdMember>>,
}

/// A player with its connection.
struct ExchangeWorker {
    context: RunContext,
    member: Rc<CrowdMember>,
    http: HttpConnection,
    consumed: Vec<String>,
}

pub(super) fn prepare(
    context: &RunContext,
    members: Vec<Rc<CrowdMember>>,
    empty: bool,
) -> Rc<dyn RunningScenario> {
    let pool = Rc::new(WaitingUnits::default());
    for member in &members {
        let (pool, context, http) = (Rc::clone(&pool), context.clone(), HttpConnection::new(&context.target));
        let worker = ExchangeWorker { context, member: Rc::clone(member), http, consumed: Vec::new() };
        tokio::task::spawn_local(worker.work(pool, empty));
    }
    Rc::new(ExchangeScenario { context: context.clone(), pool, members })
}

impl ExchangeWorker {
    async fn work(mut self, pool: Rc<WaitingUnits>, empty: bool) {
        loop {
            let Ok(at) = tokio::time::timeout(SIGN_OF_LIFE, pool.next()).await else {
                // Its failure will be seen by the next unit.
                let _sign_of_life = self.poll().await;
                continue;
            };
            let done = if empty { self.poll().await } else { self.round_trip().await };
            match done {
                Ok(()) => self.context.recorder.done(0, at),
                Err(failure) => self.context.recorder.failed(0, at, &failure.kind),
            }
        }
    }

    /// An interchange without messages.
    async fn poll(&mut self) -> Result<(), CallFailure> {
        let consumed = &mut self.consumed;
        self.member.exchange(&mut self.http, None, 0, consumed, |_| None::<()>).await.map(|_| ())
    }

    /// Sends messages and waits for the echo of the last.
    async fn round_trip(&mut self) -> Result<(), CallFailure> {
        let batch = self.context.batch;
        let first = self.member.numbers(batch);
        let last = first.saturating_add(batch.into()).saturating_sub(1);
        let mut data = several(first, batch, &self.context.padding);
        for _ in 0..MOST_TURNS {
            let client = Some((self.member.client.as_str(), WAIT));
            let body = RequestBody { client, first, data: &data, consumed: &self.consumed }.json();
            data.clear();
            let came = read(self.http.post(self.member.line(), &body).await?)?;
            self.consumed.clear();
            self.consumed.extend(came.incoming_messages.iter().map(|it| it.id.to_owned()));
            if came.incoming_messages.iter().any(|it| it.game_message() == GameMessage::Echo(last)) {
                return Ok(());
            }
        }
        Err(CallFailure::timeout())
    }
}

impl RunningScenario for ExchangeScenario {
    fn begin(&self, at: Instant) {
        self.context.recorder.begun(0, at, 1);
        self.pool.push(at);
    }

    fn clear(&self) {
        self.pool.clear();
    }

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        self.members.clone()
    }
}
