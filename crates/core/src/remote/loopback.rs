//! A router within one process.

use std::{future::ready, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use omgservers_api::{Problem, Slot};

use super::{CallHandler, IncomingCall, Router};
use crate::{Ownership, ownership::NOT_OWNER};

/// How the callers of facades reach the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouterMode {
    /// They call the services of their own process.
    #[default]
    Direct,
    /// Each call and each answer passes a [`Loopback`], as if the service were elsewhere.
    Loopback,
}

impl RouterMode {
    /// What the variable `OMG_ROUTER` says: `loopback`, or nothing for direct calls. It is for
    /// test runs.
    #[expect(clippy::disallowed_methods, reason = "test runs without a configuration choose it, too")]
    pub fn from_environment() -> Self {
        match std::env::var("OMG_ROUTER") {
            Ok(mode) if mode == "loopback" => Self::Loopback,
            _ => Self::Direct,
        }
    }
}

/// Serialises each call, answers it in this process, and serialises the answer. Tests use it: what
/// passes it can pass a network.
///
/// A call runs on the task of its caller, so dropping the answer drops the call.
pub struct Loopback {
    handler: Arc<dyn CallHandler>,
    ownership: Ownership,
    max_bytes: usize,
}

impl Loopback {
    /// Routes to `handler` for the slots of this process. `max_bytes` bounds calls and answers.
    pub fn new(handler: Arc<dyn CallHandler>, ownership: Ownership, max_bytes: usize) -> Self {
        Self { handler, ownership, max_bytes }
    }

    fn begin(&self, to: Option<Slot>, call: &[u8]) -> Result<BoxFuture<'static, Vec<u8>>, Problem> {
        if to.is_some_and(|slot| !self.ownership.serving(slot)) {
            return Err(NOT_OWNER.into());
        }
        Ok(self.handler.handle(IncomingCall::decode(call, self.max_bytes)?))
    }
}

impl Router for Loopback {
    fn send(&self, to: Option<Slot>, call: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Problem>> {
        match self.begin(to, &call) {
            Ok(answer) => answer.map(Ok).boxed(),
            Err(problem) => ready(Err(problem)).boxed(),
        }
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}
