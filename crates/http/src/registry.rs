//! The distribution API below `/v2/`, the token service that its clients log in at, and the push
//! events of a registry outside.

mod answer;
mod auth;
mod blobs;
mod discovery;
mod docker;
mod events;
mod manifests;
mod uploads;

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data, ServiceConfig},
};
use omgservers_api::Problem;
use omgservers_auth::Tokens;
use omgservers_registry::{Action, Registry, Route, problems, repository};

use self::{
    answer::{Refused, with_version},
    auth::RegistryAuth,
};

/// Where Docker's clients get tokens, and under which second name.
pub(crate) const TOKEN_PATHS: [&str; 2] =
    ["/service/v1/entrypoint/docker/request/create-token", "/service/v1/entrypoint/docker/request/token"];
const EVENTS_PATH: &str = "/service/v1/entrypoint/registry/request/handle-events";

/// How the registry shows itself.
#[derive(Debug, Clone)]
pub struct RegistryHttpConfig {
    /// The server's own URL as clients see it, e.g. `https://games.example.org`; the token service
    /// is below it. `None` takes the host that each request names.
    pub public_url: Option<String>,
    /// The name of the service in challenges; a registry outside is configured with the same.
    pub service: String,
    /// Whether `/v2/` is served here. `false` when a registry outside does it.
    pub embedded: bool,
    /// The bearer secret that a registry outside sends with its push events. `None` takes none.
    pub events_secret: Option<String>,
}

impl Default for RegistryHttpConfig {
    fn default() -> Self {
        Self { public_url: None, service: "registry".to_owned(), embedded: true, events_secret: None }
    }
}

/// Mounts the registry. The application's data must have [`Registry`], [`Tokens`],
/// [`RegistryTokens`](omgservers_registry::RegistryTokens) and [`RegistryHttpConfig`].
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/v2").to(serve))
        .service(web::resource("/v2/{path:.*}").to(serve))
        .service(web::resource(EVENTS_PATH).to(events::handle));
    for path in TOKEN_PATHS {
        config.service(web::resource(path).to(docker::token));
    }
}

/// A request to the distribution API that may be answered.
struct Asked<'a> {
    request: &'a HttpRequest,
    registry: &'a Registry,
    auth: RegistryAuth<'a>,
}

async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    registry: Data<Registry>,
    tokens: Data<Tokens>,
    config: Data<RegistryHttpConfig>,
) -> HttpResponse {
    let auth = RegistryAuth::new(&request, &tokens, &config);
    let asked = Asked { request: &request, registry: &registry, auth };
    let answered = if config.embedded {
        dispatch(&asked, payload).await
    } else {
        Err(problems::NAME_UNKNOWN.detail("images are in another registry").into())
    };
    with_version(answered.unwrap_or_else(|refused| refused.answer(&request)))
}

async fn dispatch(asked: &Asked<'_>, payload: web::Payload) -> Result<HttpResponse, Refused> {
    let path = asked.request.match_info().get("path").unwrap_or_default();
    let route = Route::parse(path).ok_or_else(|| {
        problems::NAME_UNKNOWN.detail(format!("there is nothing at {}", asked.request.path()))
    })?;
    let method = asked.request.method();
    let Some(name) = route.name() else {
        asked.auth.any()?;
        return Ok(HttpResponse::Ok().json(serde_json::json!({})));
    };
    let repository = repository(name)?;
    asked.auth.pass(name, needed(method))?;
    match (route, method.as_str()) {
        (Route::Uploads { .. }, "POST") => uploads::start(asked, &repository, payload).await,
        (Route::Upload { id, .. }, "PATCH") => uploads::append(asked, &repository, id, payload).await,
        (Route::Upload { id, .. }, "PUT") => uploads::finish(asked, &repository, id, payload).await,
        (Route::Upload { id, .. }, "GET") => uploads::show(asked, &repository, id).await,
        (Route::Upload { id, .. }, "DELETE") => uploads::cancel(asked, &repository, id).await,
        (Route::Blob { digest, .. }, "GET" | "HEAD") => blobs::get(asked, &repository, digest).await,
        (Route::Blob { digest, .. }, "DELETE") => blobs::delete(asked, &repository, digest).await,
        (Route::Manifest { reference, .. }, "GET" | "HEAD") => {
            manifests::get(asked, &repository, reference).await
        }
        (Route::Manifest { reference, .. }, "PUT") => {
            manifests::put(asked, &repository, reference, payload).await
        }
        (Route::Manifest { reference, .. }, "DELETE") => {
            manifests::delete(asked, &repository, reference).await
        }
        (Route::Tags { .. }, "GET") => discovery::tags(asked, &repository).await,
        (Route::Referrers { digest, .. }, "GET") => discovery::referrers(asked, &repository, digest).await,
        _ => Err(Problem::from(problems::UNSUPPORTED).into()),
    }
}

/// What a token must allow.
fn needed(method: &Method) -> &'static [Action] {
    match *method {
        Method::GET | Method::HEAD => &[Action::Pull],
        Method::DELETE => &[Action::Delete],
        _ => &[Action::Pull, Action::Push],
    }
}
