//! Which clients play a deployment.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use omgservers_api::{ClientId, DeploymentId};

/// A client's mailbox is opened or removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Membership {
    Added(DeploymentId, ClientId),
    Removed(DeploymentId, ClientId),
}

/// The clients of each deployment, by id.
///
/// Its lock is the last one: nothing else is locked while it is held.
#[derive(Debug, Default)]
pub(crate) struct ClientsByDeployment(Mutex<HashMap<DeploymentId, BTreeSet<ClientId>>>);

impl ClientsByDeployment {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, BTreeSet<ClientId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds clients.
    pub(crate) fn extend(&self, clients: impl IntoIterator<Item = (DeploymentId, ClientId)>) {
        let added = clients.into_iter().map(|(deployment, client)| Membership::Added(deployment, client));
        self.apply(added.collect());
    }

    /// Applies changes in order. A deployment without clients takes no memory.
    pub(crate) fn apply(&self, changes: Vec<Membership>) {
        if changes.is_empty() {
            return;
        }
        let mut map = self.lock();
        for change in changes {
            match change {
                Membership::Added(deployment, client) => {
                    map.entry(deployment).or_default().insert(client);
                }
                Membership::Removed(deployment, client) => {
                    let Some(clients) = map.get_mut(&deployment) else { continue };
                    clients.remove(&client);
                    if clients.is_empty() {
                        map.remove(&deployment);
                    }
                }
            }
        }
    }

    /// The clients of one deployment, by id.
    pub(crate) fn clients(&self, deployment: DeploymentId) -> Vec<ClientId> {
        self.lock().get(&deployment).map(|it| it.iter().copied().collect()).unwrap_or_default()
    }

    /// The deployments that have clients, by id.
    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        let mut deployments: Vec<DeploymentId> = self.lock().keys().copied().collect();
        deployments.sort_unstable();
        deployments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_loses_its_last_client_is_forgotten() {
        let (index, clients) = (ClientsByDeployment::default(), [3, 1, 2].map(|it: i64| it.to_string()));
        let [one, two, three] = clients.map(|it| it.parse::<ClientId>().unwrap());
        let (here, there) = ("7".parse().unwrap(), "8".parse().unwrap());
        index.extend([(here, one), (here, two), (there, three)]);
        assert_eq!(index.clients(here), [two, one]);
        assert_eq!(index.deployments(), [here, there]);
        index.apply(vec![Membership::Removed(here, one), Membership::Removed(there, three)]);
        assert_eq!((index.clients(here), index.deployments()), (vec![two], vec![here]));
    }
}
