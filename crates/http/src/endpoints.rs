//! The table of endpoints: routing, the OpenAPI document, and the tests that cover every endpoint are made of it.

use std::collections::BTreeSet;

use actix_web::{
    FromRequest, Handler, Responder,
    web::{self, ServiceConfig},
};
use omgservers_api::problem::ErrorBody;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
        RefOr, Required, ResponseBuilder, Schema,
        path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{admin, developer, player, problem, runtime, support};

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// Whose it is: the `<role>` of the path.
    pub role: &'static str,
    /// What it does: the last part of the path.
    pub verb: &'static str,
    /// Whether it needs a bearer token.
    pub bearer: bool,
    request: Shape,
    response: Shape,
}

impl Endpoint {
    /// Its path.
    pub fn path(&self) -> String {
        path(self.role, self.verb)
    }
}

fn path(role: &str, verb: &str) -> String {
    format!("/service/v1/entrypoint/{role}/request/{verb}")
}

#[derive(Clone)]
struct Shape {
    name: String,
    schemas: Vec<(String, RefOr<Schema>)>,
}

fn shape<T: ToSchema>() -> Shape {
    let mut schemas = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
    T::schemas(&mut schemas);
    Shape { name: T::name().into_owned(), schemas }
}

/// Collects endpoints, and mounts them where there is something to mount them into.
pub(crate) struct Mount<'a> {
    config: Option<&'a mut ServiceConfig>,
    endpoints: Vec<Endpoint>,
}

impl Mount<'_> {
    /// An endpoint that takes `Req` and answers `Res`: POST, and PUT for the contract's first clients.
    pub(crate) fn post<Req, Res, F, Args>(
        &mut self,
        role: &'static str,
        verb: &'static str,
        bearer: bool,
        handler: F,
    ) where
        Req: ToSchema,
        Res: ToSchema,
        F: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        if let Some(config) = &mut self.config {
            let resource = web::resource(path(role, verb))
                .route(web::post().to(handler.clone()))
                .route(web::put().to(handler))
                .default_service(web::to(problem::method_not_allowed));
            config.service(resource);
        }
        let (request, response) = (shape::<Req>(), shape::<Res>());
        self.endpoints.push(Endpoint { role, verb, bearer, request, response });
    }
}

/// Mounts all endpoints, the most frequent ones first.
pub(crate) fn mount(config: &mut ServiceConfig) {
    all(Mount { config: Some(config), endpoints: Vec::new() });
}

/// All endpoints of the contract's style, in the order of routing.
pub fn endpoints() -> Vec<Endpoint> {
    all(Mount { config: None, endpoints: Vec::new() })
}

fn all(mut mount: Mount<'_>) -> Vec<Endpoint> {
    player::mount(&mut mount);
    runtime::mount(&mut mount);
    developer::mount(&mut mount);
    support::mount(&mut mount);
    admin::mount(&mut mount);
    mount.endpoints
}

/// The OpenAPI document, as it is checked in.
pub fn openapi() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn document() -> OpenApi {
    let endpoints = endpoints();
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .schema("ErrorBody", <ErrorBody as PartialSchema>::schema());
    let mut seen = BTreeSet::new();
    for it in &endpoints {
        for (name, schema) in it.request.schemas.iter().chain(&it.response.schemas) {
            if seen.insert(name.clone()) {
                components = components.schema(name.clone(), schema.clone());
            }
        }
        paths = paths.path(it.path(), PathItem::new(HttpMethod::Post, operation(it)));
    }
    paths = paths.path(omgservers_api::stream::PATH, PathItem::new(HttpMethod::Get, stream()));
    paths = paths.path(omgservers_api::dispatcher::PATH, PathItem::new(HttpMethod::Get, rooms()));
    let info = InfoBuilder::new()
        .title("OMGSERVERS")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Backend for authoritative game servers. PUT is an alias of POST. Ids are decimal strings; numbers are \
             accepted in requests. Every error has the same body.",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components.build())).build()
}

fn refused(description: &str) -> utoipa::openapi::Response {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(description).content("application/json", problem).build()
}

/// The player stream, which is none of the table's kind.
fn stream() -> utoipa::openapi::path::Operation {
    OperationBuilder::new()
        .operation_id(Some("player-stream"))
        .tag("player")
        .description(Some(
            "WebSocket with a player's mailbox, both ways: the messages of the interchange, in text frames of JSON. \
             docs/player-stream.md tells all of it. Sub-protocol: `omgservers.stream.v1`; a browser, which can't set \
             headers, offers the token as a second one, `bearer.<raw_token>`.",
        ))
        .security(SecurityRequirement::new("bearer", Vec::<String>::new()))
        .parameter(
            ParameterBuilder::new()
                .name("client_id")
                .parameter_in(ParameterIn::Query)
                .required(Required::True)
                .description(Some("From create-client. One that is unknown or another user's is told over the stream"))
                .schema(Some(<omgservers_api::ClientId as PartialSchema>::schema())),
        )
        .response("101", ResponseBuilder::new().description("The stream is open"))
        .response("400", refused("No `client_id`, or no handshake of a WebSocket"))
        .response("401", refused("The token is missing, expired or wrong"))
        .response("403", refused("It isn't a player's token"))
        .response("503", refused("The server stops"))
        .build()
}

/// The endpoint of the dispatcher, which is none of the table's kind.
fn rooms() -> utoipa::openapi::path::Operation {
    OperationBuilder::new()
        .operation_id(Some("dispatcher-connect"))
        .tag("dispatcher")
        .description(Some(
            "WebSocket between a player and its game server; docs/dispatcher.md tells all of it. The token is good for one use; it comes in the query, as \
             `Authorization: Bearer`, or in the sub-protocol `bearer-token-carrier`. Sub-protocol: `omgservers`.",
        ))
        .parameter(
            ParameterBuilder::new()
                .name("ws_token")
                .parameter_in(ParameterIn::Query)
                .description(Some("From CONNECTION_UPGRADE_MESSAGE, or of the runtime's create-token"))
                .schema(Some(<String as PartialSchema>::schema())),
        )
        .response("101", ResponseBuilder::new().description("Connected"))
        .response("401", refused("Not connected"))
        .response("503", refused("The server stops"))
        .build()
}

fn operation(it: &Endpoint) -> utoipa::openapi::path::Operation {
    let json = |name: &str| ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let answer = |text: &str, name: &str| {
        ResponseBuilder::new().description(text).content("application/json", json(name)).build()
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("{}-{}", it.role, it.verb)))
        .tag(it.role)
        .request_body(Some(
            RequestBodyBuilder::new().content("application/json", json(&it.request.name)).build(),
        ))
        .response("200", answer("Done", &it.response.name))
        .response("default", answer("Not done", "ErrorBody"));
    if it.bearer {
        operation = operation.security(SecurityRequirement::new("bearer", Vec::<String>::new()));
    }
    operation.build()
}

/// The endpoints as a page for people.
pub(crate) fn page() -> String {
    let row = |it: &Endpoint| {
        let who = if it.bearer { "token" } else { "anonymous" };
        format!(
            "<tr><td>{}</td><td><code>POST {}</code></td><td>{who}</td><td><code>{}</code></td><td><code>{}</code></td></tr>",
            it.role,
            it.path(),
            it.request.name,
            it.response.name
        )
    };
    let mut rows: String = endpoints().iter().map(row).collect();
    rows.push_str(&format!(
        "<tr><td>player</td><td><code>GET {}</code></td><td>token</td><td>WebSocket</td><td></td></tr>",
        omgservers_api::stream::PATH
    ));
    rows.push_str(&format!(
        "<tr><td>dispatcher</td><td><code>GET {}</code></td><td>ws_token</td><td>WebSocket</td><td></td></tr>",
        omgservers_api::dispatcher::PATH
    ));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>OMGSERVERS API</title>\
         <style>body{{font-family:sans-serif;margin:2rem}}td,th{{text-align:left;padding:.2rem .8rem .2rem 0}}</style>\
         <h1>OMGSERVERS API</h1><p>The whole document: <a href=\"/openapi.json\">openapi.json</a></p>\
         <table><tr><th>Role<th>Endpoint<th>Auth<th>Request<th>Response</tr>{rows}</table></html>"
    )
}
