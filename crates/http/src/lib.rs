#![doc = include_str!("../README.md")]

mod admin;
mod auth;
mod body;
mod deployments;
mod developer;
mod developers;
pub mod dispatcher;
mod docs;
mod document;
mod endpoints;
mod error_response;
mod interchange;
mod interchange_body;
mod player;
mod problem;
mod projects;
pub mod registry;
mod runtime;
mod stages;
pub mod stream;
mod support;
mod tenants;
mod token;
mod versions;
mod websocket;

use std::sync::Arc;

use actix_web::web::{self, Data, ServiceConfig};
pub use auth::remember_token;
pub use body::decode;
pub use document::{code, openapi};
pub use error_response::{REQUEST_ID, finish, refuse, request_context, request_id};
use omgservers_accounts::Accounts;
use omgservers_api::entrypoint::{EndpointAccess, endpoint};
use omgservers_auth::{Passwords, Tokens};
use omgservers_core::{Mint, WorkerRegistry};
use omgservers_deployments::Deployments;
use omgservers_matchmaking::Matchmaking;
use omgservers_messaging::Mail;
use omgservers_projects::Projects;
use omgservers_registry::{Registry, RegistryTokens};
use omgservers_runtimes::Runtimes;
use omgservers_tenants::Tenants;
use omgservers_versions::Versions;
pub use problem::wrong_method;
use tokio_util::sync::CancellationToken;

/// What a handler gets.
pub(crate) type Api = Data<HttpServices>;

/// What the API stands on. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct HttpServices {
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
    /// Mailboxes of players and runtimes.
    pub mail: Arc<dyn Mail>,
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
    pub dispatcher: dispatcher::DispatcherParts,
    /// The open player streams.
    pub streams: stream::Streams,
    /// What the background workers do, for `list-workers`.
    pub workers: WorkerRegistry,
}

impl HttpServices {
    /// What player streams stand on.
    fn stream(&self) -> stream::StreamParts {
        stream::StreamParts {
            tokens: Arc::clone(&self.tokens),
            mail: Arc::clone(&self.mail),
            open: self.streams.clone(),
            frame_limit: self.body_limit,
            draining: self.draining.clone(),
        }
    }
}

/// Mounts the API, for one worker. The most frequent paths come first: they are tried in this
/// order.
pub fn routes(services: &HttpServices, config: &mut ServiceConfig) {
    // All that wait are in one list of their token: each worker has its own.
    let services = &HttpServices { draining: services.draining.child_token(), ..services.clone() };
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

/// The kind of an endpoint that takes requests without a token. Such requests are limited per
/// address, with any headers. `path` is the one that the router reads: percent-encoded letters are
/// letters in it. `None` for endpoints that need a token.
pub fn anonymous(path: &str) -> Option<Anonymous> {
    let access = match endpoint::at(path) {
        Some(endpoint) => endpoint.access,
        None if registry::TOKEN_PATHS.contains(&path) => EndpointAccess::Password,
        None => return None,
    };
    match access {
        EndpointAccess::Bearer => None,
        EndpointAccess::Anonymous => Some(Anonymous::Cheap),
        EndpointAccess::Password => Some(Anonymous::Password),
    }
}

/// Whether an endpoint waits as long as its request says.
pub fn is_interchange(path: &str) -> bool {
    endpoint::at(path).is_some_and(|it| it.waits)
}

#[cfg(test)]
mod tests {
    use super::{Anonymous, anonymous, is_interchange, registry};

    #[test]
    fn what_takes_no_token_is_known_as_anonymous_and_by_what_it_costs() {
        let path = |role: &str, verb: &str| format!("/service/v1/entrypoint/{role}/request/{verb}");
        for role in ["admin", "support", "developer"] {
            assert_eq!(anonymous(&path(role, "create-token")), Some(Anonymous::Password), "{role}");
        }
        for (role, verb) in [
            ("player", "create-user"),
            ("player", "create-token"),
            ("player", "ping-service"),
            ("runtime", "create-token"),
        ] {
            assert_eq!(anonymous(&path(role, verb)), Some(Anonymous::Cheap), "{role} {verb}");
        }
        assert_eq!(anonymous(&path("player", "interchange")), None);
        for path in registry::TOKEN_PATHS {
            assert_eq!(anonymous(path), Some(Anonymous::Password), "{path}");
        }
        // Images may be called like that.
        for path in ["/v2/token", "/v2/omgservers/1/2/lobby/manifests/create-token", "/token", "token", ""] {
            assert_eq!(anonymous(path), None, "{path}");
        }
    }

    #[test]
    fn only_interchanges_wait() {
        let path = |role: &str, verb: &str| format!("/service/v1/entrypoint/{role}/request/{verb}");
        assert!(
            is_interchange(&path("player", "interchange")) && is_interchange(&path("runtime", "interchange"))
        );
        assert!(!is_interchange(&path("player", "create-user")) && !is_interchange("/interchange"));
    }
}
