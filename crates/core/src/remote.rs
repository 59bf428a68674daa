//! Calls of a facade that may leave the process.
//!
//! A facade is a service trait whose calls can cross processes. Its routed implementation makes a
//! [`RemoteCall`] of each method and starts it with [`start`]. A [`Router`] carries the bytes to
//! the process that owns the slot. There a [`CallHandler`] answers with the local service.
//!
//! The bytes are JSON: messages and the configurations of versions are raw JSON already. A call
//! carries the [`Context`](context::Context) of its request. An answer carries a [`Problem`] with
//! its code, detail, kind and pause. Its cause stays in the log of the process that met it.

mod incoming;
mod loopback;
mod wire;

use std::future::Future;

use futures_util::future::BoxFuture;
use omgservers_api::{Problem, Slot};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    incoming::{CallHandler, IncomingCall},
    loopback::{Loopback, RouterMode},
};
use crate::context;

/// Most bytes of a call and of an answer. An answer of a mailbox has one entry of any size, and a
/// body that is quoted may double.
pub const MAX_CALL_BYTES: usize = 64 << 20;

/// The arguments of one method of a facade. [`remote_calls!`](crate::remote_calls) declares them.
pub trait RemoteCall: Serialize + DeserializeOwned + Send + 'static {
    /// The name of the method, unique within its facade.
    const NAME: &'static str;
    /// The success of the method.
    type Answer: Serialize + DeserializeOwned + Send;
}

/// Carries the calls of one facade to the owners of slots.
pub trait Router: Send + Sync {
    /// Sends a call to the owner of `to`. `None` stands for any process: only its service can find
    /// the slot. Calls of one caller to one slot arrive in their order. Dropping the answer cancels
    /// the call: what it has done stays, and it waits no longer. Problems: `core.not_owner` when
    /// no process owns the slot, `internal` for bytes that are no call.
    fn send(&self, to: Option<Slot>, call: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Problem>>;

    /// Most bytes of a call and of an answer.
    fn max_bytes(&self) -> usize;
}

/// Starts a call at once, in the current context; the future is its answer. Problems: those of the
/// method and of [`Router::send`], `request.too_large` for a call and `internal` for an answer
/// beyond the router's bound.
pub fn start<C: RemoteCall>(
    router: &dyn Router,
    to: Option<Slot>,
    call: &C,
) -> impl Future<Output = Result<C::Answer, Problem>> + Send + use<C> {
    let encoded = wire::encode_call(C::NAME, context::current(), call, router.max_bytes());
    let sent = encoded.map(|bytes| router.send(to, bytes));
    async move { wire::decode_answer(&sent?.await?)? }
}

/// Declares the calls of a facade, each with its name on the wire and its answer:
///
/// ```
/// omgservers_core::remote_calls! {
///     /// Adds two numbers.
///     Add = "add" { left: u32, right: u32 } -> u64;
/// }
/// ```
#[macro_export]
macro_rules! remote_calls {
    ($(
        $(#[$doc:meta])*
        $name:ident = $word:literal { $($field:ident: $type:ty),* $(,)? } -> $answer:ty;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, ::serde::Serialize, ::serde::Deserialize)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }

        impl $crate::remote::RemoteCall for $name {
            const NAME: &'static str = $word;
            type Answer = $answer;
        }
    )*};
}

#[cfg(test)]
mod tests;
