//! The mail of mailboxes that may be in another process.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use omgservers_api::{
    ClientId, EntryId, Problem, RuntimeId, UserId,
    ids::{Id as _, SenderSeq},
};
use omgservers_core::remote::{self, CallHandler, IncomingCall, RemoteCall, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ClientMessage, Entry, Mail, Sending, StreamPosition};

omgservers_core::remote_calls! {
    /// [`Mail::client_attach`].
    ClientAttach = "client_attach" { user: UserId, client: ClientId } -> StreamPosition;
    /// [`Mail::client_send`]; the answer is that of [`Sending::safe`].
    ClientSend = "client_send" {
        user: UserId, client: ClientId, messages: Vec<MessageRecord>, consumed: Vec<EntryId>,
        position: StreamPosition
    } -> bool;
    /// [`Mail::client_receive`].
    ClientReceive = "client_receive" {
        user: UserId, client: ClientId, after: Option<EntryId>, consumed: Vec<EntryId>, wait: Duration
    } -> Option<Vec<Entry>>;
    /// [`Mail::client_exchange`].
    ClientExchange = "client_exchange" {
        user: UserId, client: ClientId, messages: Vec<MessageRecord>, consumed: Vec<EntryId>
    } -> Vec<Entry>;
    /// [`Mail::runtime_opened`].
    RuntimeOpened = "runtime_opened" { runtime: RuntimeId } -> u64;
}

/// A message on its path to the owner of its sender's mailbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessageRecord {
    seq: Option<SenderSeq>,
    data: Box<RawValue>,
}

impl MessageRecord {
    fn all(messages: &[ClientMessage<'_>]) -> Vec<Self> {
        messages.iter().map(|it| Self { seq: it.seq, data: it.data.to_owned() }).collect()
    }

    fn borrow(records: &[Self]) -> Vec<ClientMessage<'_>> {
        records.iter().map(|it| ClientMessage { seq: it.seq, data: &it.data }).collect()
    }
}

/// Sends each call to the owner of its mailbox.
pub struct RoutedMail(Arc<dyn Router>);

impl RoutedMail {
    /// The router leads to [`MailHandler`]s.
    pub fn new(router: Arc<dyn Router>) -> Self {
        Self(router)
    }

    fn to_client<C: RemoteCall>(
        &self,
        client: ClientId,
        call: &C,
    ) -> impl Future<Output = Result<C::Answer, Problem>> + Send + use<C> {
        remote::start(&*self.0, Some(client.slot()), call)
    }
}

#[async_trait::async_trait]
impl Mail for RoutedMail {
    async fn client_attach(&self, user: UserId, client: ClientId) -> Result<StreamPosition, Problem> {
        self.to_client(client, &ClientAttach { user, client }).await
    }

    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
        position: StreamPosition,
    ) -> Sending {
        let (messages, consumed) = (MessageRecord::all(messages), consumed.to_vec());
        let call = ClientSend { user, client, messages, consumed, position };
        Sending::Away(self.to_client(client, &call).boxed())
    }

    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        let consumed = consumed.to_vec();
        self.to_client(client, &ClientReceive { user, client, after, consumed, wait }).await
    }

    async fn client_exchange(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Vec<Entry>, Problem> {
        let (messages, consumed) = (MessageRecord::all(messages), consumed.to_vec());
        self.to_client(client, &ClientExchange { user, client, messages, consumed }).await
    }

    async fn runtime_opened(&self, runtime: RuntimeId) -> Result<u64, Problem> {
        remote::start(&*self.0, Some(runtime.slot()), &RuntimeOpened { runtime }).await
    }
}

/// Answers the calls of a [`RoutedMail`] with the mail of this process.
pub struct MailHandler(Arc<dyn Mail>);

impl MailHandler {
    /// Answers with `mail`.
    pub fn new(mail: Arc<dyn Mail>) -> Self {
        Self(mail)
    }
}

impl CallHandler for MailHandler {
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Vec<u8>> {
        let mail = Arc::clone(&self.0);
        match call.name() {
            ClientAttach::NAME => {
                call.answer(async move |args: ClientAttach| mail.client_attach(args.user, args.client).await)
            }
            ClientSend::NAME => call.answer(move |args: ClientSend| {
                let messages = MessageRecord::borrow(&args.messages);
                // The send starts here, at once: the next call must not overtake it.
                mail.client_send(args.user, args.client, &messages, &args.consumed, args.position).safe()
            }),
            ClientReceive::NAME => call.answer(async move |args: ClientReceive| {
                mail.client_receive(args.user, args.client, args.after, &args.consumed, args.wait).await
            }),
            ClientExchange::NAME => call.answer(async move |args: ClientExchange| {
                let messages = MessageRecord::borrow(&args.messages);
                mail.client_exchange(args.user, args.client, &messages, &args.consumed).await
            }),
            RuntimeOpened::NAME => {
                call.answer(async move |args: RuntimeOpened| mail.runtime_opened(args.runtime).await)
            }
            _ => call.unknown(),
        }
    }
}

#[cfg(test)]
mod tests;
