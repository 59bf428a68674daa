//! The services as the HTTP API and the metrics take them.

use std::sync::Arc;

use omgservers_core::WorkerRegistry;
use tokio_util::sync::CancellationToken;

use super::{Infrastructure, Services};
use crate::{addresses::Addresses, config::Config, gauges::Gauges, settings, workers::Workers};

impl Services {
    /// Looks up the gauges when the operator's collector asks for metrics.
    pub(crate) fn gauges(&self, infrastructure: &Infrastructure) -> Gauges {
        Gauges::new(&infrastructure.db, &self.messaging, &self.matchmaking, &self.dispatcher)
    }

    /// Starts all workers as tasks.
    pub(crate) fn start_workers(&self, infrastructure: &Infrastructure, workers: &Workers) {
        for wired in self.workers(infrastructure) {
            workers.add(wired.worker, wired.doorbell);
        }
        let runtimes = self.runtimes.clone();
        // Follows the events of the hosts, so that the reconciler learns at once of a container
        // that exits.
        workers.spawn(|stop| async move { runtimes.watch(stop).await });
    }

    /// The services behind the HTTP API.
    pub(crate) fn for_http(
        &self,
        infrastructure: &Infrastructure,
        config: &Config,
        addresses: &Addresses,
        draining: CancellationToken,
        workers: WorkerRegistry,
    ) -> omgservers_http::HttpServices {
        omgservers_http::HttpServices {
            accounts: Arc::clone(&self.accounts),
            tenants: self.tenants(),
            projects: self.projects(),
            versions: self.versions(),
            deployments: self.deployments(),
            mail: Arc::clone(&self.facades.mail),
            runtimes: self.runtimes(),
            matchmaking: Arc::clone(&self.facades.matchmaking),
            registry: Arc::new(self.registry.clone()),
            registry_tokens: Arc::new(self.registry_tokens.clone()),
            registry_config: Arc::new(settings::registry(config)),
            dispatcher: omgservers_http::dispatcher::DispatcherParts {
                dispatcher: Arc::clone(&self.dispatcher),
                messaging: Arc::clone(&self.messaging),
                tokens: Arc::clone(&self.tokens),
                times: omgservers_http::dispatcher::Times::default(),
            },
            tokens: Arc::clone(&self.tokens),
            passwords: Arc::clone(&self.passwords),
            mint: infrastructure.mint.clone(),
            public_url: addresses.public_url.as_str().into(),
            body_limit: config.server.body_limit_bytes,
            draining,
            streams: omgservers_http::stream::Streams::default(),
            workers,
        }
    }
}
