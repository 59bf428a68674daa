//! New players: an account and a token, over a number of connections.

use std::{rc::Rc, time::Instant};

use omgservers_api::entrypoint::player::CreateUserResponse;

use super::{RunContext, RunningScenario, pool::WaitingUnits};
use crate::{
    crowd::{CrowdMember, SignedInUser, request},
    net::{CallFailure, HttpConnection},
};

const WHOLE: usize = 0;
const USER: usize = 1;
const TOKEN: usize = 2;

struct SignUpScenario {
    context: RunContext,
    pool: Rc<WaitingUnits>,
}

pub(super) fn prepare(context: &RunContext, connections: u32) -> Rc<dyn RunningScenario> {
    let pool = Rc::new(WaitingUnits::default());
    for _ in 0..connections {
        let (pool, context, mut http) =
            (Rc::clone(&pool), context.clone(), HttpConnection::new(&context.target));
        tokio::task::spawn_local(async move {
            loop {
                let at = pool.next().await;
                match sign_up(&context, &mut http).await {
                    Ok(()) => context.recorder.done(WHOLE, at),
                    Err(failure) => context.recorder.failed(WHOLE, at, &failure.kind),
                }
            }
        });
    }
    Rc::new(SignUpScenario { context: context.clone(), pool })
}

async fn sign_up(context: &RunContext, http: &mut HttpConnection) -> Result<(), CallFailure> {
    let made: CreateUserResponse = part(context, USER, request(http, "create-user", None, "{}")).await?;
    part(context, TOKEN, SignedInUser::sign_in(http, &made)).await?;
    Ok(())
}

/// A step counts from its own beginning.
async fn part<T>(
    context: &RunContext,
    which: usize,
    step: impl Future<Output = Result<T, CallFailure>>,
) -> Result<T, CallFailure> {
    let at = Instant::now();
    context.recorder.begun(which, at, 1);
    let answer = step.await;
    match &answer {
        Ok(_) => context.recorder.done(which, at),
        Err(failure) => context.recorder.failed(which, at, &failure.kind),
    }
    answer
}

impl RunningScenario for SignUpScenario {
    fn begin(&self, at: Instant) {
        self.context.recorder.begun(WHOLE, at, 1);
        self.pool.push(at);
    }

    fn clear(&self) {
        self.pool.clear();
    }

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        Vec::new()
    }
}
