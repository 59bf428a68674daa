//! The test sends what the document allows to a real server, and checks every answer against its
//! schema. No answer is a 500, has an undeclared status, or a value outside of its type.
//!
//! schemathesis generates the requests, well-formed ones and malformed ones, with a fixed seed. Its
//! copy of the document knows the ids of entities that exist, so that requests get past the
//! look-ups.

use std::{collections::BTreeMap, path::Path, time::Duration};

use omgservers_api::entrypoint::EntrypointRole;
use omgservers_http::openapi;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{fixture::ContractFixture, studio::Studio};

/// Requests per operation and kind of test.
const EXAMPLES: u32 = 12;
/// A run that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(300);
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Operations that delete come last, so that there is something to ask about before.
const DELETES: &str = "^[a-z]+-delete-";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_what_the_document_allows_is_one_that_it_declares() {
    let program = omgservers_tests::root().join("target/venv/bin/schemathesis");
    assert!(program.is_file(), "schemathesis isn't installed: run `make setup`");
    let fixture = ContractFixture::with(|config| {
        config.limits.anonymous_per_second = 100_000;
        config.limits.anonymous_burst = 100_000;
    })
    .await;
    let studio = Studio::open(&fixture).await;
    let (tokens, ids) = actors(&fixture, &studio).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("openapi.json"), document(&ids).to_string()).unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), settings(&tokens)).unwrap();
    for which in ["--exclude-operation-id-regex", "--include-operation-id-regex"] {
        run(&program, folder.path(), &fixture.url, which).await;
    }
    fixture.stop().await;
}

/// A token for each role, and the ids of entities by the name of their schema.
async fn actors(
    fixture: &ContractFixture,
    studio: &Studio,
) -> (BTreeMap<&'static str, String>, Vec<(&'static str, Value)>) {
    let (developer, user) = studio.developer(fixture).await;
    for (level, permission) in [
        ("tenant", "PROJECT_MANAGER"),
        ("tenant", "TENANT_VIEWER"),
        ("project", "STAGE_MANAGER"),
        ("project", "VERSION_MANAGER"),
        ("project", "PROJECT_VIEWER"),
        ("stage", "DEPLOYMENT_MANAGER"),
    ] {
        studio.grant(fixture, &user, level, permission).await;
    }
    // Another one is deleted, and gets and loses permissions.
    let (_, spare) = studio.developer(fixture).await;
    let (player, client) = studio.player(fixture).await;
    let runtime = fixture.tokens(Default::default()).runtime(studio.runtime().parse().unwrap()).unwrap();
    let tokens = [
        (EntrypointRole::Admin, fixture.token("admin").await),
        (EntrypointRole::Support, studio.support.clone()),
        (EntrypointRole::Developer, developer),
        (EntrypointRole::Player, player),
        (EntrypointRole::Runtime, runtime),
    ];
    let ids = vec![
        ("Ref_TenantId", studio.tenant.clone()),
        ("TenantId", studio.tenant.clone()),
        ("Ref_ProjectId", studio.project.clone()),
        ("ProjectId", studio.project.clone()),
        ("Ref_StageId", studio.stage.clone()),
        ("StageId", studio.stage.clone()),
        ("VersionId", studio.version.clone()),
        ("DeploymentId", studio.deployment.clone()),
        ("LobbyId", studio.details["lobby_refs"][0]["lobby_id"].clone()),
        ("MatchmakerId", studio.details["matchmaker_refs"][0]["matchmaker_id"].clone()),
        ("Ref_UserId", spare.clone()),
        ("UserId", spare),
        ("ClientId", client),
        ("RuntimeId", json!(studio.runtime())),
    ];
    (tokens.into_iter().map(|(role, token)| (role.as_str(), token)).collect(), ids)
}

/// The document, with ids that exist beside all others, and without long waits.
fn document(ids: &[(&str, Value)]) -> Value {
    let mut document: Value = serde_json::from_str(&openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, id) in ids {
        let schema = schemas.get_mut(*name).unwrap_or_else(|| panic!("the document has no {name}"));
        *schema = json!({"anyOf": [{"type": "string", "enum": [id]}, schema.clone()]});
    }
    for name in ["PlayerInterchangeRequest", "RuntimeInterchangeRequest"] {
        schemas[name]["properties"]["wait"]["maximum"] = json!(20);
    }
    // WebSockets aren't tried by sending a request.
    document["paths"].as_object_mut().unwrap().retain(|_, item| item.get("post").is_some());
    document
}

fn settings(tokens: &BTreeMap<&str, String>) -> String {
    // PUT is an alias of POST, and 405 is tested elsewhere.
    let mut text = "[phases.coverage]\nunexpected-methods = []\n".to_owned();
    for (role, token) in tokens {
        text.push_str(&format!(
            "[[operations]]\ninclude-tag = \"{role}\"\nheaders = {{ Authorization = \"Bearer {token}\" }}\n"
        ));
    }
    text
}

async fn run(program: &Path, folder: &Path, url: &str, which: &str) {
    let examples = EXAMPLES.to_string();
    let running = Command::new(program)
        .current_dir(folder)
        .args(["run", "openapi.json", "--url", url, which, DELETES, "--checks", CHECKS])
        .args(["--max-examples", &examples, "--seed", "1", "--generation-database", "none"])
        .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color"])
        .args(["--suppress-health-check", "all", "--workers", "2", "--warnings", "off"])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, running).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{which} {DELETES}:\n{out}\n{err}");
    // A selection that selects nothing proves nothing.
    assert!(out.contains("passed"), "{out}");
}
