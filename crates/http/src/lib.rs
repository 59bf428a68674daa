//! The HTTP API: a request in, a call of one service, an answer out. No rules live here.
//!
//! [`routes`] mounts everything into an actix application whose answers pass [`finish`]. [`openapi`] prints the
//! document of the same table of endpoints.

mod admin;
mod auth;
mod body;
mod developer;
mod direct;
pub mod dispatcher;
mod docs;
mod entries;
mod finish;
mod mount;
mod player;
mod problem;
pub mod registry;
mod runtime;
pub mod stream;
mod support;
mod websocket;

use std::sync::Arc;

use actix_web::web::{self, Data, ServiceConfig};
pub use body::decode;
pub use finish::finish;
pub use mount::{Endpoint, endpoints, openapi};
use omgservers_accounts::Accounts;
use omgservers_auth::{Passwords, Tokens};
use omgservers_core::Mint;
use omgservers_deployments::Deployments;
use omgservers_matchmaking::Matchmaking;
use omgservers_messaging::Messaging;
use omgservers_projects::Projects;
use omgservers_registry::{Registry, RegistryTokens};
use omgservers_runtimes::Runtimes;
use omgservers_tenants::Tenants;
use omgservers_versions::Versions;
use tokio_util::sync::CancellationToken;

/// What the API stands on. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct Services {
    /// Users.
    pub accounts: Arc<dyn Accounts>,
    /// Tenants.
    pub tenants: Arc<dyn Tenants>,
    /// Projects and stages.
    pub projects: Arc<dyn Projects>,
    /// Versions.
    pub versions: Arc<dyn Versions>,
    /// Deployments.
    pub deployments: Arc<dyn Deployments>,
    /// Mailboxes.
    pub messaging: Arc<dyn Messaging>,
    /// Game servers.
    pub runtimes: Arc<dyn Runtimes>,
    /// Lobbies.
    pub matchmaking: Arc<dyn Matchmaking>,
    /// Images.
    pub registry: Arc<Registry>,
    /// The token service of the registry.
    pub registry_tokens: Arc<RegistryTokens>,
    /// How the registry shows itself.
    pub registry_config: Arc<registry::RegistryHttpConfig>,
    /// Tokens.
    pub tokens: Arc<Tokens>,
    /// The slow hash, for `bcrypt-hash`.
    pub passwords: Arc<Passwords>,
    /// Ids, for `generate-id`.
    pub mint: Mint,
    /// The server's own address as clients see it.
    pub public_url: Arc<str>,
    /// Largest body, bytes.
    pub body_limit: usize,
    /// Fires when the server is about to stop: answers are held no longer.
    pub draining: CancellationToken,
    /// Rooms of players and their game servers.
    pub dispatcher: dispatcher::Parts,
    /// The open player streams.
    pub streams: stream::Streams,
}

impl Services {
    /// What player streams stand on.
    fn stream(&self) -> stream::Parts {
        stream::Parts {
            tokens: Arc::clone(&self.tokens),
            messaging: Arc::clone(&self.messaging),
            open: self.streams.clone(),
            frame_limit: self.body_limit,
            draining: self.draining.clone(),
        }
    }
}

/// Mounts the API. The most frequent paths come first: they are tried in this order.
pub fn routes(services: &Services, config: &mut ServiceConfig) {
    config
        .app_data(Data::from(Arc::clone(&services.registry)))
        .app_data(Data::from(Arc::clone(&services.registry_tokens)))
        .app_data(Data::from(Arc::clone(&services.registry_config)))
        .app_data(Data::from(Arc::clone(&services.tokens)))
        .app_data(Data::new(services.clone()))
        .configure(|it| dispatcher::routes(&services.dispatcher, it))
        .configure(mount::mount)
        .configure(|it| stream::routes(&services.stream(), it))
        .configure(registry::routes)
        .configure(docs::routes)
        .default_service(web::to(problem::unknown_path));
}

/// Whether an endpoint takes requests without a token: those are limited per address, whatever header they bring.
pub fn is_anonymous(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("create-token" | "token" | "create-user" | "ping-service"))
}

/// Whether an endpoint is an interchange, which waits as long as its request says.
pub fn is_interchange(path: &str) -> bool {
    path.ends_with("/interchange")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_takes_no_token_is_known_as_anonymous() {
        for endpoint in super::endpoints() {
            assert_eq!(super::is_anonymous(&endpoint.path()), !endpoint.bearer, "{}", endpoint.path());
        }
    }
}
