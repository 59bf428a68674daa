//! The routes of all endpoints, generated from the tables in `omgservers_api::entrypoint`.
//!
//! The handler of an endpoint is the function of the endpoint's name in the module of its role.

use std::future::Future;

use actix_web::{
    FromRequest, Handler, Responder,
    web::{self, Json, ServiceConfig},
};
use omgservers_api::{
    Problem, Validate,
    entrypoint::{self, AnonymousEndpoint, BearerEndpoint, Endpoint},
};
use omgservers_core::Caller;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Api, auth::Authenticated, body::JsonBody, problem, problem::HttpProblem};

/// Makes a function that mounts the endpoints of a role.
macro_rules! mount_role {
    (
        $module:ident $role:ident;
        $($(#[doc = $doc:literal])* [$($access:ident)+] $method:ident $name:ident
            ($($request:ident)?) -> $response:ident;)*
    ) => {
        fn $module(config: &mut ServiceConfig) {
            $(mount_role! {
                @$($access)+ config, entrypoint::$module::$name, crate::$module::$method
            })*
        }
    };
    // The handler of an answer that is held writes it by hand.
    (@bearer waiting $config:ident, $endpoint:path, $handler:path) => {
        route::<$endpoint, _, _>($config, $handler);
    };
    (@bearer $config:ident, $endpoint:path, $handler:path) => { bearer::<$endpoint, _, _>($config, $handler); };
    (@$access:ident $config:ident, $endpoint:path, $handler:path) => {
        anonymous::<$endpoint, _, _>($config, $handler);
    };
}

omgservers_api::player_endpoints!(mount_role);
omgservers_api::runtime_endpoints!(mount_role);
omgservers_api::developer_endpoints!(mount_role);
omgservers_api::support_endpoints!(mount_role);
omgservers_api::admin_endpoints!(mount_role);

/// Mounts all endpoints, the most frequent ones first.
pub(crate) fn mount(config: &mut ServiceConfig) {
    for role in [player, runtime, developer, support, admin] {
        role(config);
    }
}

/// Mounts an endpoint for callers with a token of its role.
fn bearer<E, F, A>(config: &mut ServiceConfig, handler: F)
where
    E: BearerEndpoint<Request: DeserializeOwned + Validate, Response: Serialize>,
    F: Fn(Api, Caller, E::Request) -> A + Copy + 'static,
    A: Future<Output = Result<E::Response, Problem>> + 'static,
{
    route::<E, _, _>(
        config,
        move |api: Api, authenticated: Authenticated<E>, JsonBody(request): JsonBody<E::Request>| async move {
            handler(api, authenticated.caller, request).await.map(Json).map_err(HttpProblem)
        },
    );
}

/// Mounts an endpoint for everybody.
fn anonymous<E, F, A>(config: &mut ServiceConfig, handler: F)
where
    E: AnonymousEndpoint<Request: DeserializeOwned + Validate, Response: Serialize>,
    F: Fn(Api, E::Request) -> A + Copy + 'static,
    A: Future<Output = Result<E::Response, Problem>> + 'static,
{
    route::<E, _, _>(config, move |api: Api, JsonBody(request): JsonBody<E::Request>| async move {
        handler(api, request).await.map(Json).map_err(HttpProblem)
    });
}

/// Mounts a handler under the path of an endpoint: POST, and PUT for the contract's first clients.
fn route<E, F, Args>(config: &mut ServiceConfig, handler: F)
where
    E: Endpoint,
    F: Handler<Args, Output: Responder + 'static>,
    Args: FromRequest + 'static,
{
    let resource = web::resource(E::DESCRIPTOR.path())
        .route(web::post().to(handler.clone()))
        .route(web::put().to(handler))
        .default_service(web::to(problem::method_not_allowed));
    config.service(resource);
}
