//! A network per tenant: made when the tenant's first container comes, removed when it has none
//! left. Runtimes in it don't reach each other.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use bollard::{
    Docker,
    models::{Network, NetworkCreateRequest},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};
use omgservers_api::TenantId;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{DockerConfig, HostError, INSTALLATION, TENANT, host_error, status_of};

/// A network must be seen unused so often before it goes: making one costs as much as half a start.
const UNUSED_BEFORE_REMOVAL: u32 = 2;

/// The id of a tenant's network, if it is known. Starts hold it for reading, changes for writing.
type Cell = Arc<RwLock<Option<String>>>;

/// The networks of a host.
pub(super) struct Networks {
    docker: Docker,
    config: Arc<DockerConfig>,
    cells: Mutex<HashMap<TenantId, Cell>>,
    unused: Mutex<HashMap<TenantId, u32>>,
}

/// A network that isn't removed while this lives.
pub(super) struct InUse(OwnedRwLockReadGuard<Option<String>>);

impl InUse {
    pub(super) fn id(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Networks {
    pub(super) fn new(docker: Docker, config: Arc<DockerConfig>) -> Self {
        Self { docker, config, cells: Mutex::default(), unused: Mutex::default() }
    }

    fn cell(&self, tenant: TenantId) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(tenant).or_default())
    }

    /// The network of `tenant`, made if need be.
    pub(super) async fn of(&self, tenant: TenantId) -> Result<InUse, HostError> {
        let cell = self.cell(tenant);
        let known = Arc::clone(&cell).read_owned().await;
        if known.is_some() {
            return Ok(InUse(known));
        }
        drop(known);
        let mut id = cell.write_owned().await;
        if id.is_none() {
            *id = Some(self.find_or_make(tenant).await?);
        }
        Ok(InUse(id.downgrade()))
    }

    /// Looks for the network again at the next start.
    pub(super) async fn forget(&self, tenant: TenantId) {
        *self.cell(tenant).write_owned().await = None;
    }

    async fn find_or_make(&self, tenant: TenantId) -> Result<String, HostError> {
        // Docker makes two networks of one name without a word, so look first.
        if let Some(id) = self.of_tenant(tenant).await?.pop() {
            return Ok(id);
        }
        let labels = [
            (INSTALLATION.to_owned(), self.config.installation.clone()),
            (TENANT.to_owned(), tenant.to_string()),
        ];
        let request = NetworkCreateRequest {
            name: format!("omg-{}-{tenant}", self.config.short()),
            driver: Some("bridge".into()),
            labels: Some(labels.into()),
            options: Some([("com.docker.network.bridge.enable_icc".into(), "false".into())].into()),
            ..Default::default()
        };
        self.docker.create_network(request).await.map(|it| it.id).map_err(|it| host_error(&it))
    }

    async fn list(&self, label: String) -> Result<Vec<Network>, HostError> {
        let ours = format!("{INSTALLATION}={}", self.config.installation);
        let filters = HashMap::from([("label", vec![ours, label])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        self.docker.list_networks(Some(options)).await.map_err(|it| host_error(&it))
    }

    async fn of_tenant(&self, tenant: TenantId) -> Result<Vec<String>, HostError> {
        let mut ids: Vec<String> =
            self.list(format!("{TENANT}={tenant}")).await?.into_iter().filter_map(|it| it.id).collect();
        // Should there be two after all, everybody takes the same.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Removes networks of tenants that are not among `used`, when that was so before.
    pub(super) async fn prune(&self, used: &HashSet<TenantId>) -> Result<(), HostError> {
        let there: HashSet<TenantId> = self
            .list(TENANT.to_owned())
            .await?
            .into_iter()
            .filter_map(|it| it.labels?.get(TENANT)?.parse().ok())
            .collect();
        let due: Vec<TenantId> = {
            let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
            unused.retain(|it, _| there.contains(it) && !used.contains(it));
            for tenant in there.difference(used) {
                let times = unused.entry(*tenant).or_insert(0);
                *times = times.saturating_add(1);
            }
            unused.iter().filter(|it| *it.1 >= UNUSED_BEFORE_REMOVAL).map(|it| *it.0).collect()
        };
        for tenant in due {
            self.remove(tenant).await?;
        }
        Ok(())
    }

    async fn remove(&self, tenant: TenantId) -> Result<(), HostError> {
        // Somebody starts a container in it: then it isn't unused.
        let Ok(mut id) = self.cell(tenant).try_write_owned() else { return Ok(()) };
        let label =
            vec![format!("{INSTALLATION}={}", self.config.installation), format!("{TENANT}={tenant}")];
        let filters = HashMap::from([("label", label)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let left = self.docker.list_containers(Some(options)).await.map_err(|it| host_error(&it))?;
        if !left.is_empty() {
            return Ok(());
        }
        *id = None;
        for network in self.of_tenant(tenant).await? {
            match self.docker.remove_network(&network).await {
                Ok(()) => {}
                Err(error) if status_of(&error) == Some(404) => {}
                Err(error) => return Err(host_error(&error)),
            }
        }
        self.unused.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits for it has a hold on the cell, and keeps it.
        cells.retain(|it, cell| *it != tenant || Arc::strong_count(cell) > 2);
        Ok(())
    }
}
