//! The OpenAPI document and the page for people, generated from the tables in
//! `omgservers_api::entrypoint`.

use std::collections::{BTreeMap, BTreeSet};

use omgservers_api::{
    Code,
    entrypoint::{Descriptor, EndpointAccess, Shape, endpoint},
    problem::ErrorBody,
};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
        RefOr, Required, ResponseBuilder, Schema,
        path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

/// The codes that endpoints may answer.
const CODES: &[&[Code]] = &[
    omgservers_api::problem::ALL,
    omgservers_accounts::problems::ALL,
    omgservers_tenants::problems::ALL,
    omgservers_projects::problems::ALL,
    omgservers_versions::problems::ALL,
    omgservers_deployments::problems::ALL,
    omgservers_messaging::problems::ALL,
    omgservers_runtimes::problems::ALL,
    omgservers_players::problems::ALL,
    omgservers_matchmaking::problems::ALL,
    &[omgservers_core::ownership::NOT_OWNER, omgservers_core::mint::NO_IDS],
];

/// The problem with this code, if a service has one.
pub fn code(code: &str) -> Option<Code> {
    CODES.iter().copied().flatten().find(|it| it.code == code).copied()
}

/// The OpenAPI document, as it is checked in.
pub fn openapi() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .schema("ErrorBody", <ErrorBody as PartialSchema>::schema());
    let mut seen = BTreeSet::new();
    for endpoint in endpoint::all() {
        let (request, response) = (endpoint.schemas)();
        for (name, mut schema) in request.schemas.iter().chain(&response.schemas).cloned() {
            if seen.insert(name.clone()) {
                if name == request.name {
                    describe_aliases(&mut schema, endpoint);
                }
                components = components.schema(name, schema);
            }
        }
        let operation = operation(endpoint, &request, &response);
        paths = paths.path(endpoint.path(), PathItem::new(HttpMethod::Post, operation));
    }
    paths = paths.path(omgservers_api::stream::PATH, PathItem::new(HttpMethod::Get, stream()));
    paths = paths.path(omgservers_api::dispatcher::PATH, PathItem::new(HttpMethod::Get, rooms()));
    let info = InfoBuilder::new()
        .title("OMGSERVERS")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Backend for authoritative game servers. PUT is an alias of POST. Ids are decimal strings; numbers are \
             accepted in requests. The server ignores fields that it doesn't know. Every error has the same body.",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths.build()).components(Some(components.build())).build()
}

/// Adds the other names of fields to their descriptions.
fn describe_aliases(schema: &mut RefOr<Schema>, endpoint: &Descriptor) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for field in endpoint.fields.iter().filter(|it| !it.aliases.is_empty()) {
        let names: Vec<_> = field.aliases.iter().map(|it| format!("`{it}`")).collect();
        let text = format!("{} Also accepted as {}.", field.summary(), names.join(" and "));
        match object.properties.get_mut(field.name) {
            Some(RefOr::Ref(property)) => property.description = text,
            Some(RefOr::T(Schema::Object(property))) => property.description = Some(text),
            _ => {}
        }
    }
}

fn operation(endpoint: &Descriptor, request: &Shape, response: &Shape) -> utoipa::openapi::path::Operation {
    let json = |name: &str, example: &str| {
        let example: Value = serde_json::from_str(example).unwrap_or_default();
        ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).example(Some(example)).build()
    };
    let request = json(&request.name, endpoint.example_request);
    let done = ResponseBuilder::new()
        .description("Done")
        .content("application/json", json(&response.name, endpoint.example_response));
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("{}-{}", endpoint.role.as_str(), endpoint.verb)))
        .tag(endpoint.role.as_str())
        .summary(Some(endpoint.summary()))
        .description(Some(endpoint.description()).filter(|it| !it.is_empty()))
        .request_body(Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content("application/json", request)
                .build(),
        ))
        .response("200", done);
    for (status, codes) in by_status(endpoint) {
        operation = operation.response(status.to_string(), refusal(&codes));
    }
    if endpoint.access == EndpointAccess::Bearer {
        operation = operation.security(SecurityRequirement::new("bearer", Vec::<String>::new()));
    }
    operation.build()
}

/// The problems that an endpoint may answer, by their status.
fn by_status(endpoint: &Descriptor) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for code in endpoint.errors().filter_map(code) {
        by_status.entry(code.kind.status()).or_default().push(code);
    }
    by_status
}

/// The answer to one of several problems of one status.
fn refusal(codes: &[Code]) -> utoipa::openapi::Response {
    let lines: Vec<_> = codes.iter().map(|it| format!("* `{}`: {}", it.code, it.title)).collect();
    let example = codes.first().map(|code| {
        json!({
            "qualifier": code.qualifier, "code": code.code, "detail": code.title, "request_id": "3f0c9a1be47d2266"
        })
    });
    let body =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).example(example).build();
    ResponseBuilder::new().description(lines.join("\n")).content("application/json", body).build()
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
        .summary(Some("Opens the player stream."))
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
        .summary(Some("Opens a connection between a player and its game server."))
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

/// The endpoints as a page for people.
pub(crate) fn page() -> String {
    let row = |endpoint: &Descriptor| {
        let who = if endpoint.access == EndpointAccess::Bearer { "token" } else { "anonymous" };
        let (role, path, summary) = (endpoint.role.as_str(), endpoint.path(), endpoint.summary());
        format!("<tr><td>{role}</td><td><code>POST {path}</code></td><td>{who}</td><td>{summary}</td></tr>")
    };
    let mut rows: String = endpoint::all().map(row).collect();
    rows.push_str(&format!(
        "<tr><td>player</td><td><code>GET {}</code></td><td>token</td><td>Opens the player stream.</td></tr>",
        omgservers_api::stream::PATH
    ));
    rows.push_str(&format!(
        "<tr><td>dispatcher</td><td><code>GET {}</code></td><td>ws_token</td><td>Opens a connection between a player and its game server.</td></tr>",
        omgservers_api::dispatcher::PATH
    ));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>OMGSERVERS API</title>\
         <style>body{{font-family:sans-serif;margin:2rem}}td,th{{text-align:left;padding:.2rem .8rem .2rem 0}}</style>\
         <h1>OMGSERVERS API</h1><p>The whole document: <a href=\"/openapi.json\">openapi.json</a></p>\
         <table><tr><th>Role<th>Endpoint<th>Auth<th>Summary</tr>{rows}</table></html>"
    )
}
