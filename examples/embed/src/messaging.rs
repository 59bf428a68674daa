//! `messaging`: the mailboxes of clients and runtimes, and which client is assigned to which
//! runtime.

use std::sync::Arc;

use omgservers_api::{ClientId, DeploymentId, Problem, RuntimeId, UserId, roles::Delivery};
use omgservers_messaging::{Bounds, Mailboxes, Messaging, Op};

use crate::Base;

/// Opens the mailboxes of the slots of this process. It has nothing to its left.
pub async fn build(base: &Base) -> Result<Arc<dyn Messaging>, Problem> {
    let (clock, mint, ownership) = (Arc::clone(&base.clock), base.mint.clone(), base.ownership.clone());
    Ok(Mailboxes::open(&base.db, clock, mint, ownership, Bounds::default()).await?)
}

/// Opens a mailbox for a client and one for a runtime, assigns the client to the runtime, and waits
/// until all of it is committed.
pub async fn assign(
    base: &Base,
    messaging: &dyn Messaging,
    user: UserId,
    deployment: DeploymentId,
) -> Result<(ClientId, RuntimeId), Problem> {
    let (client, runtime) = (base.mint.child(deployment)?, base.mint.child(deployment)?);
    let delivery = Delivery::Durable;
    let ops = vec![
        Op::OpenRuntime { runtime, deployment, delivery },
        Op::OpenClient { client, user, deployment, delivery },
        Op::Route { client, to: Some(runtime) },
    ];
    messaging.apply(ops)?.wait().await?;
    Ok((client, runtime))
}
