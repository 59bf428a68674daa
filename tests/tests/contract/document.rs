//! The generated document, and that the SDK knows every endpoint.

use std::collections::BTreeSet;

use omgservers_http::{endpoints, openapi};

use crate::fixture::ContractFixture;

#[test]
fn the_checked_in_openapi_document_is_what_the_code_says() {
    let file = omgservers_tests::root().join("deploy/openapi.json");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, openapi()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == openapi(), "deploy/openapi.json is old: run `make generate`");
}

#[test]
fn the_sdk_calls_every_endpoint_and_no_other() {
    let ours: BTreeSet<(String, String)> =
        endpoints().iter().map(|it| (it.role.to_owned(), it.verb.to_owned())).collect();
    let sdk: BTreeSet<(String, String)> = omgservers_client::ENDPOINTS
        .iter()
        .flat_map(|(role, verbs)| verbs.iter().map(|verb| ((*role).to_owned(), (*verb).to_owned())))
        .collect();
    // The later name of deploy-version.
    let later = ("developer".to_owned(), "create-deployment".to_owned());
    let missing: Vec<_> = ours.difference(&sdk).filter(|it| **it != later).collect();
    let unknown: Vec<_> = sdk.difference(&ours).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing in the SDK: {missing:?}, unknown here: {unknown:?}"
    );
}

#[test]
fn every_endpoint_of_the_contract_is_there() {
    let ours: BTreeSet<String> = endpoints().iter().map(|it| format!("{} {}", it.role, it.verb)).collect();
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
