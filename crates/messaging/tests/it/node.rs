//! One of several processes on one database, in this process.

use std::sync::Arc;

use omgservers_api::{
    ClientId, DeploymentId, Problem, RuntimeId, Slot, UserId,
    ids::{Id, compose},
    roles::Delivery,
};
use omgservers_core::{Clock, Db, Mint, Ownership, Tenure};
use omgservers_messaging::{AckHandle, Bounds, ClientMessage, Entry, Mailboxes, Messaging as _, Op};

use crate::fixture::{NOW, raw};

/// Mailboxes that acquire and lose slots one by one.
pub(crate) struct Node {
    pub(crate) db: Db,
    pub(crate) ownership: Ownership,
    pub(crate) mint: Mint,
    pub(crate) mailboxes: Arc<Mailboxes>,
}

/// A client that is with a runtime, both in the slot of their deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    pub(crate) client: ClientId,
    pub(crate) runtime: RuntimeId,
}

impl Node {
    pub(crate) async fn start(name: &str, db: &Db, clock: Arc<dyn Clock>) -> Self {
        let (ownership, mint) = (Ownership::slots(name), Mint::empty());
        let (to_mailboxes, ids) = (ownership.clone(), mint.clone());
        let mailboxes = Mailboxes::open(db, clock, ids, to_mailboxes, Bounds::default()).await.unwrap();
        Self { db: db.clone(), ownership, mint, mailboxes }
    }

    /// Acquires a slot from its present owner, and serves it.
    pub(crate) async fn take(&self, slot: Slot) -> Result<Arc<Tenure>, Problem> {
        let tenure = self.ownership.acquire(&self.db, &self.mint, &[slot]).await?.pop().unwrap();
        self.mailboxes.load(&tenure).await?;
        self.ownership.serve(&tenure);
        Ok(tenure)
    }

    /// Opens a session in a slot that this serves.
    pub(crate) async fn session(&self, slot: Slot) -> Session {
        let deployment = deployment_in(slot);
        let delivery = Delivery::Durable;
        let (user, client) = (id_in(slot, 2), self.mint.child(deployment).unwrap());
        let runtime = self.mint.child(deployment).unwrap();
        let ops = vec![
            Op::OpenClient { client, user, deployment, delivery },
            Op::OpenRuntime { runtime, deployment, delivery },
            Op::Route { client, to: Some(runtime) },
        ];
        self.mailboxes.apply(ops).unwrap().wait().await.unwrap();
        Session { user, client, runtime }
    }

    /// The client sends a message to its runtime.
    pub(crate) fn send(&self, session: Session, text: &str) -> Result<AckHandle, Problem> {
        let data = raw(text);
        let message = ClientMessage { seq: None, data: &data };
        Ok(self.mailboxes.client_send(session.user, session.client, &[message], &[])?.unwrap())
    }

    /// The entries that wait for the runtime.
    pub(crate) async fn fetch(&self, session: Session) -> Result<Vec<Entry>, Problem> {
        self.mailboxes.runtime_receive(session.runtime, NOW).await
    }
}

pub(crate) fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

pub(crate) fn deployment_in(slot: Slot) -> DeploymentId {
    id_in(slot, 1)
}

/// An id that no mint makes: of a block that is never handed out.
fn id_in<I: Id>(slot: Slot, counter: u32) -> I {
    let id = compose(slot, (1 << 23) - 1, counter).unwrap();
    I::from_i64(i64::try_from(id.get()).unwrap()).unwrap()
}
