//! A request that may be broken off in its middle.

use std::sync::atomic::Ordering;

use omgservers_api::{Kind, Problem};

use super::Workload;
use crate::rng::Rng;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// It was answered.
    Good(T),
    /// Nobody knows what became of it.
    Unknown,
    /// It wasn't taken, and may be later.
    Later,
    /// The token isn't good any more.
    Token,
    /// There is no such mailbox.
    Gone(Problem),
    /// It was refused for good.
    Refused(Problem),
}

impl Workload {
    /// Waits for the answer, or breaks the request off.
    pub(crate) async fn call<T>(
        &self,
        rng: &mut Rng,
        request: impl Future<Output = Result<T, Problem>>,
    ) -> Answer<T> {
        let drops = self.drops.load(Ordering::Relaxed);
        if drops > 0 && rng.percent(drops.into()) {
            let soon = rng.millis(0, 30);
            return match tokio::time::timeout(soon, request).await {
                Ok(answer) => judged(answer),
                Err(_broken_off) => Answer::Unknown,
            };
        }
        judged(request.await)
    }
}

fn judged<T>(answer: Result<T, Problem>) -> Answer<T> {
    match answer {
        Ok(answer) => Answer::Good(answer),
        Err(problem) => match problem.kind() {
            Kind::Unauthenticated => Answer::Token,
            Kind::NotFound | Kind::Gone => Answer::Gone(problem),
            Kind::Exhausted => Answer::Later,
            Kind::Internal | Kind::Unavailable => Answer::Unknown,
            _ => Answer::Refused(problem),
        },
    }
}
