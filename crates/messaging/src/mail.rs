//! The facade of the mailboxes.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use omgservers_api::{ClientId, EntryId, Problem, RuntimeId, UserId};

use serde::{Deserialize, Serialize};

use crate::{
    AckHandle, ClientMessage, Entry, Mailboxes,
    client_box::{self, ClientBox},
    problems, runtime_box,
};

/// The mailboxes as a process sees them that may not own their slots: the calls that HTTP and
/// streams make for a session. Each call names one mailbox, and all that it takes and answers can
/// be serialised.
///
/// [`Mailboxes`] are the mail of their own process and add nothing to a call.
/// [`RoutedMail`](crate::RoutedMail) sends each call to the owner of the mailbox. Every call may
/// answer `core.not_owner`.
#[async_trait::async_trait]
pub trait Mail: Send + Sync {
    /// Opens a stream of a client and answers the position of its first send. An earlier stream
    /// sends no more. Problems: `messaging.client_not_found`, `messaging.foreign_client` (400
    /// WRONG_CLIENT_ID).
    async fn client_attach(&self, user: UserId, client: ClientId) -> Result<StreamPosition, Problem>;

    /// Starts to send like [`Messaging::client_send`](crate::Messaging::client_send), at once. A
    /// stream sends its next frame before this one is safe; each has the
    /// [next](StreamPosition::next) position, so none overtakes another or one that was refused.
    /// Problems: those of that method, `messaging.stream_replaced`, `messaging.out_of_turn` (an
    /// earlier send of the stream was refused).
    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
        position: StreamPosition,
    ) -> Sending;

    /// Receives like [`Messaging::client_receive`](crate::Messaging::client_receive), with its
    /// problems. Cancel-safe: a dropped future loses nothing and waits no longer.
    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem>;

    /// Sends, waits until the messages are safe, and answers what the mailbox then holds, in one
    /// call. It doesn't wait for an entry to arrive: a caller that gives up a wait must still learn
    /// that its messages are safe. A closed mailbox accepts no messages; it answers its last
    /// entries, and then `messaging.client_not_found`. Problems: those of
    /// [`Messaging::client_send`](crate::Messaging::client_send) and of [`AckHandle::wait`].
    async fn client_exchange(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Vec<Entry>, Problem>;

    /// The epoch at which a runtime's mailbox was opened, for its token
    /// ([`RuntimeInfo::opened`](crate::RuntimeInfo::opened)). Problems:
    /// `messaging.runtime_not_found`, also when the mailbox is closed.
    async fn runtime_opened(&self, runtime: RuntimeId) -> Result<u64, Problem>;
}

/// The position of a send in a stream of its client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The number of the stream: a later stream of the client has a higher one.
    pub stream: u32,
    /// The number of the send in it, from 0.
    pub number: u32,
}

impl StreamPosition {
    /// The position of the next send.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.wrapping_add(1), ..self }
    }
}

/// A send that has started.
#[must_use = "nothing may be acknowledged before the send is safe"]
pub enum Sending {
    /// The mailbox is in this process: the messages are accepted or refused. `None`: the mailbox is
    /// closed, and nothing was accepted.
    Here(Result<Option<AckHandle>, Problem>),
    /// The mailbox may be elsewhere: the answer comes when the messages are safe. `false`: the
    /// mailbox is closed, and nothing was accepted. Dropping it cancels the wait, not the send.
    Away(BoxFuture<'static, Result<bool, Problem>>),
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(accepted) => f.debug_tuple("Here").field(accepted).finish(),
            Self::Away(_) => f.write_str("Away"),
        }
    }
}

impl Sending {
    /// Waits until the messages are safe. `false`: the mailbox is closed, and nothing was accepted.
    /// Problems: those of [`Mail::client_send`] and of [`AckHandle::wait`].
    pub async fn safe(self) -> Result<bool, Problem> {
        match self {
            Self::Here(accepted) => match accepted? {
                Some(ack) => ack.wait().await.map(|()| true),
                None => Ok(false),
            },
            Self::Away(answer) => answer.await,
        }
    }
}

#[async_trait::async_trait]
impl Mail for Mailboxes {
    async fn client_attach(&self, user: UserId, client: ClientId) -> Result<StreamPosition, Problem> {
        let mut shard = self.clients.lock(client);
        self.must_serve(client)?;
        client_box::owned(shard.get_mut(&client), user).map(ClientBox::open_stream)
    }

    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
        position: StreamPosition,
    ) -> Sending {
        Sending::Here(self.client_send(user, client, messages, consumed, Some(position)))
    }

    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        self.client_receive(user, client, after, consumed, wait).await
    }

    async fn client_exchange(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Vec<Entry>, Problem> {
        if let Some(ack) = self.client_send(user, client, messages, consumed, None)? {
            ack.wait().await?;
        }
        let received = self.client_receive(user, client, None, &[], Duration::ZERO).await?;
        received.ok_or_else(|| problems::CLIENT_NOT_FOUND.into())
    }

    async fn runtime_opened(&self, runtime: RuntimeId) -> Result<u64, Problem> {
        let mut shard = self.runtimes.lock(runtime);
        self.must_serve(runtime)?;
        runtime_box::open(shard.get_mut(&runtime)).map(|it| it.info().opened)
    }
}
