//! Effects that lobbies and matches share: operations on mailboxes and runtimes.

use std::collections::{BTreeMap, HashMap};

use omgservers_api::{
    ClientId, DeploymentId, Problem, RuntimeId, RuntimeQualifier,
    interchange::{Reason, command, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{Mailbox, Op};
use omgservers_runtimes::NewRuntime;
use omgservers_versions::image_for;

use crate::{PgMatchmaking, bodies, health::ObservedRuntime};

/// The operations that disconnect a client.
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
    /// Ends sessions: the clients receive the reason, their runtimes that they left. Answers how
    /// many ended.
    pub(crate) async fn disconnect(&self, clients: &[ClientId], reason: Reason) -> Result<usize, Problem> {
        let mut by_deployment: BTreeMap<DeploymentId, Vec<ClientId>> = BTreeMap::new();
        for client in clients {
            if let Some(info) = self.parts.messaging.client(*client) {
                by_deployment.entry(info.deployment).or_default().push(*client);
            }
        }
        let (mut ended, mut acks, mut failed) = (0, Vec::new(), None);
        for (deployment, clients) in by_deployment {
            let handle = self.states.handle(deployment);
            let _state = handle.state.lock().await;
            let mut ops = Vec::new();
            for client in clients {
                // Its session may have ended meanwhile.
                let Some(info) = self.parts.messaging.client(client).filter(|it| !it.closed) else {
                    continue;
                };
                ops.extend(disconnect_ops(client, info.route, reason)?);
                handle.is_gone(client);
                ended += 1;
            }
            // Also after a failure: then the client's ticket is checked again.
            self.parts.changed.enqueue(deployment);
            match self.parts.messaging.apply(ops) {
                Ok(ack) => acks.push(ack),
                Err(problem) => failed = Some(problem),
            }
        }
        // Each by itself: deployments are in different slots, and one of them may be lost.
        for ack in acks {
            if let Err(problem) = ack.wait().await {
                failed = Some(problem);
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// Reads the mailboxes and states of runtimes.
    pub(crate) async fn observe_runtimes(
        &self,
        runtimes: &[RuntimeId],
    ) -> Result<HashMap<RuntimeId, ObservedRuntime>, Problem> {
        let mut states = self.parts.runtimes.states(runtimes).await?;
        let observed = runtimes.iter().map(|id| {
            let (mailbox, state) = (self.parts.messaging.runtime(*id), states.remove(id));
            (*id, ObservedRuntime { mailbox, state })
        });
        Ok(observed.collect())
    }

    /// Creates runtimes of a deployment; they start as soon as hosts have capacity.
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
        let deployment = &full.deployment;
        let label = |name: &str, value: String| (format!("omgservers.{name}"), value);
        let new = |id: &RuntimeId| NewRuntime {
            id: *id,
            tenant: deployment.tenant_id,
            deployment: deployment.id,
            qualifier,
            image: image.clone(),
            cpu_limit,
            memory_limit,
            ports: ports.clone(),
            labels: vec![
                label("project", full.project_id.to_string()),
                label("stage", deployment.stage_id.to_string()),
                label("version", deployment.version_id.to_string()),
            ],
        };
        self.parts.runtimes.create(&runtimes.iter().map(new).collect::<Vec<_>>()).await
    }
}
