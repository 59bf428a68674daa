//! The generated document: it is complete, and it is the contract's.

use std::collections::BTreeSet;

use omgservers_api::entrypoint::{EndpointAccess, endpoint};
use omgservers_http::{code, openapi};
use serde_json::Value;

use crate::fixture::ContractFixture;

#[test]
fn the_checked_in_openapi_document_is_what_the_code_generates() {
    let file = omgservers_tests::root().join("deploy/openapi.json");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, openapi()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == openapi(), "deploy/openapi.json is old: run `make generate`");
}

#[test]
fn every_operation_has_prose_an_example_and_the_statuses_of_its_errors() {
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    for endpoint in endpoint::all() {
        let path = endpoint.path();
        let operation = &document["paths"][&path]["post"];
        assert_eq!(operation["summary"], endpoint.summary(), "{path}");
        for content in [&operation["requestBody"], &operation["responses"]["200"]] {
            let content = &content["content"]["application/json"];
            assert!(
                content["schema"]["$ref"].is_string() && content["example"].is_object(),
                "{path}: {content}"
            );
        }
        for error in endpoint.errors() {
            let code = code(error).unwrap_or_else(|| panic!("{path} names {error}, which no crate declares"));
            let response = &operation["responses"][code.kind.status().to_string()];
            let description = response["description"].as_str().unwrap_or_default();
            assert!(description.contains(error), "{path} doesn't say {error} under its status");
        }
        assert_eq!(operation["security"].is_array(), endpoint.access == EndpointAccess::Bearer, "{path}");
        assert!(operation["responses"]["default"].is_null(), "{path} answers nothing but what it declares");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let text = operation["summary"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{path} has no summary");
        }
    }
}

#[test]
fn every_other_name_of_a_field_is_accepted_and_documented() {
    let document = openapi();
    let mut names = 0;
    for endpoint in endpoint::all() {
        for field in endpoint.fields {
            for alias in field.aliases {
                names += 1;
                let path = endpoint.path();
                let mut request: Value = serde_json::from_str(endpoint.example_request).unwrap();
                let value = request.as_object_mut().unwrap().remove(field.name).unwrap();
                request[*alias] = value;
                (endpoint.check_request)(&request.to_string())
                    .unwrap_or_else(|it| panic!("{path} {alias}: {it}"));
                assert!(document.contains(&format!("`{alias}`")), "{path} doesn't say {alias}");
            }
        }
    }
    assert!(names > 10, "the aliases are found: {names}");
}

#[test]
fn the_verb_of_an_endpoint_is_the_name_of_its_handler() {
    macro_rules! names {
        (
            $module:ident $role:ident;
            $($(#[doc = $doc:literal])* [$($access:ident)+] $method:ident $name:ident
                ($($request:ident)?) -> $response:ident;)*
        ) => {
            for (endpoint, method, name) in omgservers_api::entrypoint::EntrypointRole::$role
                .endpoints()
                .iter()
                .zip([$(stringify!($method)),*])
                .zip([$(stringify!($name)),*])
                .map(|((endpoint, method), name)| (endpoint, method, name))
            {
                assert_eq!(endpoint.verb.replace('-', "_"), method);
                assert_eq!(endpoint.verb.replace('-', ""), name.to_lowercase());
            }
        };
    }
    omgservers_api::player_endpoints!(names);
    omgservers_api::runtime_endpoints!(names);
    omgservers_api::developer_endpoints!(names);
    omgservers_api::support_endpoints!(names);
    omgservers_api::admin_endpoints!(names);
}

#[test]
fn every_endpoint_of_the_contract_is_there() {
    let ours: BTreeSet<String> =
        endpoint::all().map(|it| format!("{} {}", it.role.as_str(), it.verb)).collect();
    let contract = "admin create-token; admin generate-id; admin bcrypt-hash; admin calculate-shard; admin ping-docker-host; \
        support create-token; support create-tenant; support create-tenant-alias; support delete-tenant; support create-project; \
        support create-project-alias; support delete-project; support create-developer; support delete-developer; \
        support create-tenant-permissions; support delete-tenant-permissions; support create-project-permissions; \
        support delete-project-permissions; support create-stage-permissions; support delete-stage-permissions; \
        support create-stage; support create-stage-alias; support delete-stage; support create-developer-alias; \
        developer create-token; developer get-tenant-details; developer create-project; developer create-project-alias; \
        developer get-project-details; developer delete-project; developer create-stage; developer create-stage-alias; \
        developer get-stage-details; developer delete-stage; developer create-version; developer get-version-details; \
        developer delete-version; developer deploy-version; developer get-deployment-details; developer delete-deployment; \
        developer create-lobby-request; developer delete-lobby; developer create-matchmaker-request; developer delete-matchmaker; \
        player ping-service; player create-user; player create-token; player create-client; player interchange; \
        runtime create-token; runtime interchange";
    for endpoint in contract.split("; ") {
        assert!(ours.contains(endpoint.trim()), "{endpoint} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_health_readiness_metrics_and_the_document() {
    let fixture = ContractFixture::start().await;
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        let answer = reqwest::get(format!("{}{path}", fixture.url)).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_kept_from_the_public() {
    let fixture =
        ContractFixture::with(|config| config.server.metrics_bind = Some("127.0.0.1:0".to_owned())).await;
    let apart = fixture.metrics.clone().unwrap();
    let status = async |url: String| reqwest::get(url).await.unwrap().status().as_u16();
    assert_eq!(status(format!("{apart}/metrics")).await, 200);
    assert_eq!(status(format!("{}/metrics", fixture.url)).await, 404);
    for path in ["/healthz", "/openapi.json", "/service/v1/entrypoint/player/request/ping-service"] {
        assert_eq!(status(format!("{apart}{path}")).await, 404, "nothing else is there: {path}");
    }
    fixture.stop().await;
    assert!(reqwest::get(format!("{apart}/metrics")).await.is_err(), "it stops with the server");
}
