//! New players: an account and a token, over a number of connections.

use std::{rc::Rc, time::Instant};

use omgservers_api::entrypoint::player::CreateUserResponse;

use super::{Scene, Stage, pool::Pool};
use crate::{
    crowd::{Account, Member, ask},
    net::{Failure, Http},
};

const WHOLE: usize = 0;
const USER: usize = 1;
const TOKEN: usize = 2;

struct SignUp {
    stage: Stage,
    pool: Rc<Pool>,
}

pub(super) fn prepare(stage: &Stage, connections: u32) -> Rc<dyn Scene> {
    let pool = Rc::new(Pool::default());
    for _ in 0..connections {
        let (pool, stage, mut http) = (Rc::clone(&pool), stage.clone(), Http::new(&stage.target));
        tokio::task::spawn_local(async move {
            loop {
                let at = pool.next().await;
                match sign_up(&stage, &mut http).await {
                    Ok(()) => stage.recorder.done(WHOLE, at),
                    Err(failure) => stage.recorder.failed(WHOLE, at, &failure.kind),
                }
            }
        });
    }
    Rc::new(SignUp { stage: stage.clone(), pool })
}

async fn sign_up(stage: &Stage, http: &mut Http) -> Result<(), Failure> {
    let made: CreateUserResponse = part(stage, USER, ask(http, "create-user", None, "{}")).await?;
    part(stage, TOKEN, Account::sign_in(http, &made)).await?;
    Ok(())
}

/// A step counts from its own beginning.
async fn part<T>(
    stage: &Stage,
    which: usize,
    step: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let at = Instant::now();
    stage.recorder.begun(which, at, 1);
    let answer = step.await;
    match &answer {
        Ok(_) => stage.recorder.done(which, at),
        Err(failure) => stage.recorder.failed(which, at, &failure.kind),
    }
    answer
}

impl Scene for SignUp {
    fn begin(&self, at: Instant) {
        self.stage.recorder.begun(WHOLE, at, 1);
        self.pool.push(at);
    }

    fn clear(&self) {
        self.pool.clear();
    }

    fn members(&self) -> Vec<Rc<Member>> {
        Vec::new()
    }
}
