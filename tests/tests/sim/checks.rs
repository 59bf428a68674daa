//! What must be so at every moment.

use std::collections::BTreeMap;

use omgservers_api::RuntimeId;

use crate::world::{Verdict, World};

impl World {
    /// Compares routes, members and capacities.
    pub(crate) fn check(&mut self) -> Verdict {
        let clients = self.backend().messaging.clients();
        let mut members: BTreeMap<RuntimeId, usize> = BTreeMap::new();
        for (client, info) in &clients {
            let Some(runtime) = info.route else { continue };
            if info.closed {
                return Err(format!("client {client} is closed and routed to {runtime}"));
            }
            *members.entry(runtime).or_default() += 1;
            if !self.backend().messaging.clients_of(runtime).contains(client) {
                return Err(format!("client {client} is routed to {runtime} and none of its members"));
            }
            for session in self.players.iter_mut().filter_map(|it| it.session.as_mut()) {
                if session.client == *client {
                    session.routes.insert(runtime);
                }
            }
        }
        for (runtime, info) in self.backend().messaging.runtimes() {
            let routed = members.remove(&runtime).unwrap_or(0);
            if info.clients != routed {
                return Err(format!("runtime {runtime} has {} members and {routed} routes", info.clients));
            }
            let most = usize::try_from(self.config.lobby.max_assignments).unwrap();
            if routed > most {
                return Err(format!("runtime {runtime} has {routed} clients, at most {most} are allowed"));
            }
        }
        if let Some((runtime, _)) = members.pop_first() {
            return Err(format!("clients are routed to {runtime}, which has no mailbox"));
        }
        Ok(())
    }
}
