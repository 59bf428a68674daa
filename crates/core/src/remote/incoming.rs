//! The side that answers calls.

use std::future::{Future, ready};

use futures_util::{FutureExt as _, future::BoxFuture};
use omgservers_api::{Kind, Problem};

use super::{RemoteCall, wire};
use crate::context::Context;

/// Answers the calls of one facade with the service of this process.
pub trait CallHandler: Send + Sync {
    /// Begins a call: picks the method by [`IncomingCall::name`] and passes its work to
    /// [`IncomingCall::answer`]. Dropping the future cancels the call.
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Vec<u8>>;
}

/// A call that has arrived.
pub struct IncomingCall {
    call: wire::CallRecord,
    max_bytes: usize,
}

impl IncomingCall {
    /// Decodes a call; its answer has at most `max_bytes`. Problems: `internal`.
    pub fn decode(bytes: &[u8], max_bytes: usize) -> Result<Self, Problem> {
        Ok(Self { call: wire::decode_call(bytes)?, max_bytes })
    }

    /// The name of the method.
    pub fn name(&self) -> &str {
        &self.call.call
    }

    /// Answers the call. `work` runs now, so that calls begin in the order of their arrival; its
    /// future runs in the context of the call.
    pub fn answer<C, F>(self, work: impl FnOnce(C) -> F) -> BoxFuture<'static, Vec<u8>>
    where
        C: RemoteCall,
        F: Future<Output = Result<C::Answer, Problem>> + Send + 'static,
    {
        let Self { call, max_bytes } = self;
        let arguments: C = match serde_json::from_str(call.arguments.get()) {
            Ok(arguments) => arguments,
            Err(error) => return refuse::<C>(Problem::internal(error), max_bytes),
        };
        match call.context.map(Context::from) {
            Some(context) => {
                let begun = context.clone().sync_scope(|| work(arguments));
                context.scope(finish::<C>(begun, max_bytes)).boxed()
            }
            None => finish::<C>(work(arguments), max_bytes).boxed(),
        }
    }

    /// Refuses a call that the facade doesn't have.
    pub fn unknown(self) -> BoxFuture<'static, Vec<u8>> {
        let problem = Problem::internal(format!("there is no call `{}`", self.call.call));
        ready(wire::encode_answer::<()>(&Err(problem), self.max_bytes)).boxed()
    }
}

fn refuse<C: RemoteCall>(problem: Problem, max_bytes: usize) -> BoxFuture<'static, Vec<u8>> {
    finish::<C>(ready(Err(problem)), max_bytes).boxed()
}

async fn finish<C: RemoteCall>(
    work: impl Future<Output = Result<C::Answer, Problem>> + Send,
    max_bytes: usize,
) -> Vec<u8> {
    let answer = work.await;
    // The cause doesn't cross.
    if let Err(problem) = &answer
        && matches!(problem.kind(), Kind::Internal | Kind::Unavailable)
    {
        tracing::error!(call = C::NAME, ?problem, "a call of a facade failed");
    }
    wire::encode_answer(&answer, max_bytes)
}
