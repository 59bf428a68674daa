//! Interchanges: empty ones, and messages to the game server and back.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Scene, Stage, pool::Pool};
use crate::{
    crowd::{Member, read},
    net::{Failure, Http},
    wire::{Says, Spoken, several},
};

/// Who says nothing for so long shows that it is still there: the backend sends it away after 30 s.
const SILENCE: Duration = Duration::from_secs(8);
/// How long an interchange waits for the echo, ms.
const WAIT: u32 = 10_000;
/// How often it may have to wait again: other messages come, too.
const MOST_TURNS: usize = 50;

struct Exchange {
    stage: Stage,
    pool: Rc<Pool>,
    members: Vec<Rc<Member>>,
}

/// A player with its connection.
struct Worker {
    stage: Stage,
    member: Rc<Member>,
    http: Http,
    consumed: Vec<String>,
}

pub(super) fn prepare(stage: &Stage, members: Vec<Rc<Member>>, empty: bool) -> Rc<dyn Scene> {
    let pool = Rc::new(Pool::default());
    for member in &members {
        let (pool, stage, http) = (Rc::clone(&pool), stage.clone(), Http::new(&stage.target));
        let worker = Worker { stage, member: Rc::clone(member), http, consumed: Vec::new() };
        tokio::task::spawn_local(worker.work(pool, empty));
    }
    Rc::new(Exchange { stage: stage.clone(), pool, members })
}

impl Worker {
    async fn work(mut self, pool: Rc<Pool>, empty: bool) {
        loop {
            let Ok(at) = tokio::time::timeout(SILENCE, pool.next()).await else {
                // Its failure will be seen by the next unit.
                let _sign_of_life = self.look().await;
                continue;
            };
            let done = if empty { self.look().await } else { self.round_trip().await };
            match done {
                Ok(()) => self.stage.recorder.done(0, at),
                Err(failure) => self.stage.recorder.failed(0, at, &failure.kind),
            }
        }
    }

    /// An interchange without messages.
    async fn look(&mut self) -> Result<(), Failure> {
        let consumed = &mut self.consumed;
        self.member.exchange(&mut self.http, None, 0, consumed, |_| None::<()>).await.map(|_| ())
    }

    /// Says messages and waits for the echo of the last.
    async fn round_trip(&mut self) -> Result<(), Failure> {
        let batch = self.stage.batch;
        let first = self.member.numbers(batch);
        let last = first.saturating_add(batch.into()).saturating_sub(1);
        let mut data = several(first, batch, &self.stage.padding);
        for _ in 0..MOST_TURNS {
            let client = Some((self.member.client.as_str(), WAIT));
            let body = Says { client, first, data: &data, consumed: &self.consumed }.json();
            data.clear();
            let came = read(self.http.post(self.member.line(), &body).await?)?;
            self.consumed.clear();
            self.consumed.extend(came.incoming_messages.iter().map(|it| it.id.to_owned()));
            if came.incoming_messages.iter().any(|it| it.spoken() == Spoken::Echo(last)) {
                return Ok(());
            }
        }
        Err(Failure::timeout())
    }
}

impl Scene for Exchange {
    fn begin(&self, at: Instant) {
        self.stage.recorder.begun(0, at, 1);
        self.pool.push(at);
    }

    fn clear(&self) {
        self.pool.clear();
    }

    fn members(&self) -> Vec<Rc<Member>> {
        self.members.clone()
    }
}
