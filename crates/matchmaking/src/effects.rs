//! Effects that lobbies and matches share: operations on mailboxes and runtimes.

use omgservers_api::{
    ClientId, Problem, RuntimeId, RuntimeQualifier,
    interchange::{Reason, command, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{Mailbox, Op};
use omgservers_runtimes::NewRuntime;
use omgservers_versions::image_for;

use crate::{PgMatchmaking, bodies};

/// What disconnecting a client is made of.
pub(crate) fn disconnect_ops(
    client: ClientId,
    route: Option<RuntimeId>,
    reason: Reason,
) -> Result<Vec<Op>, Problem> {
    let mut ops = vec![Op::Push {
        to: Mailbox::Client(client),
        qualifier: message::DISCONNECTION_REASON,
        body: bodies::disconnection(reason)?,
    }];
    if let Some(runtime) = route {
        let body = bodies::client(client)?;
        ops.push(Op::Push { to: Mailbox::Runtime(runtime), qualifier: command::DELETE_CLIENT, body });
    }
    ops.push(Op::Close(Mailbox::Client(client)));
    Ok(ops)
}

impl PgMatchmaking {
    pub(crate) async fn start_runtimes(
        &self,
        full: &DeploymentFull,
        runtimes: &[RuntimeId],
        qualifier: RuntimeQualifier,
    ) -> Result<(), Problem> {
        let image = image_for(&full.images, qualifier).ok_or_else(|| {
            Problem::internal(format!("deployment {} has no image for {qualifier:?}", full.deployment.id))
        })?;
        let (lobby, r#match) = (&full.config.lobby, &full.config.r#match);
        let (cpu_limit, memory_limit, ports) = match qualifier {
            RuntimeQualifier::Lobby => (lobby.cpu_limit, lobby.memory_limit, &lobby.ports),
            RuntimeQualifier::Match => (r#match.cpu_limit, r#match.memory_limit, &r#match.ports),
        };
        let it = &full.deployment;
        let label = |name: &str, value: String| (format!("omgservers.{name}"), value);
        let new = |id: &RuntimeId| NewRuntime {
            id: *id,
            tenant: it.tenant_id,
            deployment: it.id,
            qualifier,
            image: image.clone(),
            cpu_limit,
            memory_limit,
            ports: ports.clone(),
            labels: vec![
                label("project", full.project_id.to_string()),
                label("stage", it.stage_id.to_string()),
                label("version", it.version_id.to_string()),
            ],
        };
        self.parts.runtimes.create(&runtimes.iter().map(new).collect::<Vec<_>>()).await
    }
}
