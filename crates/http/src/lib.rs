//! The HTTP API: a request in, a call of one service, an answer out. No rules live here.
//!
//! [`routes`] mounts everything into an actix application whose answers pass [`finish`]. [`openapi`] prints the
//! document of the same table of endpoints.

mod admin;
mod auth;
mod body;
mod developer;
pub mod dispatcher;
mod docs;
mod endpoints;
mod error_response;
mod interchange;
mod interchange_body;
mod player;
mod problem;
pub mod registry;
mod runtime;
pub mod stream;
mod support;
mod token;
mod websocket;

use std::sync::Arc;

use actix_web::web::{self, Data, ServiceConfig};
pub use auth::remember_token;
pub use body::decode;
pub use endpoints::{Endpoint, endpoints, openapi};
pub use error_response::{finish, request_id};
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

/// Mounts the API, for one worker. The most frequent paths come first: they are tried in this order.
pub fn routes(services: &Services, config: &mut ServiceConfig) {
    // All that wait are in one list of their token: each worker has its own.
    let services = &Services { draining: services.draining.child_token(), ..services.clone() };
    config
        .app_data(Data::from(Arc::clone(&services.registry)))
        .app_data(Data::from(Arc::clone(&services.registry_tokens)))
        .app_data(Data::from(Arc::clone(&services.registry_config)))
        .app_data(Data::from(Arc::clone(&services.tokens)))
        .app_data(Data::new(services.clone()))
        .configure(|it| dispatcher::routes(&services.dispatcher, it))
        .configure(endpoints::mount)
        .configure(|it| stream::routes(&services.stream(), it))
        .configure(registry::routes)
        .configure(docs::routes)
        .default_service(web::to(problem::unknown_path));
}

/// What a request without a token asks of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// A row, a keyed hash, or nothing.
    Cheap,
    /// The check of an operator's password: a slow hash.
    Password,
}

/// What an endpoint that takes requests without a token asks: those are limited per address, whatever header they
/// bring. `path` is the one that the router reads: percent-encoded letters are letters in it. `None` for endpoints
/// that need a token.
pub fn anonymous(path: &str) -> Option<Anonymous> {
    let (rest, verb) = path.rsplit_once('/')?;
    // Every request comes by here: most end at this look.
    if !matches!(verb, "create-token" | "token" | "create-user" | "ping-service") {
        return None;
    }
    match (rest.strip_prefix("/service/v1/entrypoint/")?.strip_suffix("/request")?, verb) {
        ("player", "create-user" | "create-token" | "ping-service") | ("runtime", "create-token") => {
            Some(Anonymous::Cheap)
        }
        ("admin" | "support" | "developer" | "docker", "create-token") | ("docker", "token") => {
            Some(Anonymous::Password)
        }
        _ => None,
    }
}

/// Whether an endpoint is an interchange, which waits as long as its request says.
pub fn is_interchange(path: &str) -> bool {
    path.ends_with("/interchange")
}

#[cfg(test)]
mod tests {
    use super::{Anonymous, anonymous, endpoints, registry};

    #[test]
    fn what_takes_no_token_is_known_as_anonymous_and_by_what_it_costs() {
        for endpoint in endpoints() {
            let path = endpoint.path();
            let cheap = matches!(endpoint.role, "player" | "runtime");
            let cost = if cheap { Anonymous::Cheap } else { Anonymous::Password };
            assert_eq!(anonymous(&path), (!endpoint.bearer).then_some(cost), "{path}");
        }
        for path in registry::TOKEN_PATHS {
            assert_eq!(anonymous(path), Some(Anonymous::Password), "{path}");
        }
        // Images may be called like that.
        for path in ["/v2/token", "/v2/omgservers/1/2/lobby/manifests/create-token", "/token", "token", ""] {
            assert_eq!(anonymous(path), None, "{path}");
        }
    }
}
