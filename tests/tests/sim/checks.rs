//! What must be so at every moment.

use std::collections::{BTreeMap, BTreeSet};

use omgservers_api::{RuntimeId, RuntimeQualifier, ids::Id as _};

use crate::simulation::{Simulation, Verdict};

impl Simulation {
    /// Compares routes, members and capacities.
    pub(crate) fn check(&mut self) -> Verdict {
        let clients = self.backend().clients();
        let mut members: BTreeMap<RuntimeId, usize> = BTreeMap::new();
        for (client, info) in &clients {
            if client.slot() != info.deployment.slot() {
                return Err(format!(
                    "client {client} isn't in the slot of its deployment {}",
                    info.deployment
                ));
            }
            let Some(runtime) = info.route else { continue };
            if info.closed {
                return Err(format!("client {client} is closed and routed to {runtime}"));
            }
            *members.entry(runtime).or_default() += 1;
            if !self.backend().messaging.clients_of(runtime).contains(client) {
                return Err(format!("client {client} is routed to {runtime} and none of its members"));
            }
            if !self.polled.contains(&runtime) {
                return Err(format!("client {client} is with {runtime}, which never polled"));
            }
        }
        self.follow();
        let lobbies: BTreeSet<RuntimeId> = self
            .running()
            .iter()
            .filter(|it| it.1.spec.qualifier == RuntimeQualifier::Lobby)
            .map(|it| it.1.spec.attempt.runtime)
            .collect();
        for (runtime, info) in self.backend().messaging.runtimes() {
            if runtime.slot() != info.deployment.slot() {
                return Err(format!(
                    "runtime {runtime} isn't in the slot of its deployment {}",
                    info.deployment
                ));
            }
            let routed = members.remove(&runtime).unwrap_or(0);
            if info.clients != routed {
                return Err(format!("runtime {runtime} has {} members and {routed} routes", info.clients));
            }
            let most = usize::try_from(self.config.lobby.max_assignments).unwrap();
            if routed > most && lobbies.contains(&runtime) {
                return Err(format!("runtime {runtime} has {routed} clients, at most {most} are allowed"));
            }
        }
        if let Some((runtime, _)) = members.pop_first() {
            return Err(format!("clients are routed to {runtime}, which has no mailbox"));
        }
        Ok(())
    }

    /// Notes where clients are now. What they have said so far and nobody got may be with who they
    /// were with.
    fn follow(&mut self) {
        let messaging = std::sync::Arc::clone(&self.backend().messaging);
        let matches = self.running_matches();
        for session in self.players.iter_mut().filter_map(|it| it.session.as_mut()) {
            let (client, former) = (session.client, session.route);
            let route = messaging.client(client).and_then(|it| it.route);
            if route == former {
                continue;
            }
            session.moves += 1;
            session.route = route;
            session.routes.extend(route);
            let Some(former) = former else { continue };
            // One that is closed gives back what it didn't get.
            let left = messaging.runtime(former).is_some()
                || route.is_some_and(|it| matches.contains(&it))
                || session.kicked_from.contains(&former);
            if left {
                let taken = self.taken.get(&client);
                let behind = self.behind.entry(client).or_default();
                for number in session.all_sent().filter(|it| taken.is_none_or(|all| !all.contains(it))) {
                    behind.entry(number).or_insert(former);
                }
            }
        }
    }
}
