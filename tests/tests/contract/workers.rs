//! What administrators see of the background workers.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::fixture::ContractFixture;

async fn workers(fixture: &ContractFixture, token: &str) -> Vec<Value> {
    let (status, answer) = fixture.post("admin", "list-workers", Some(token), json!({})).await;
    assert_eq!(status, 200, "{answer}");
    answer["workers"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_see_what_each_worker_does_and_how_its_last_run_went() {
    let fixture = ContractFixture::start().await;
    let token = fixture.token("admin").await;
    let all_have_run = async {
        loop {
            let workers = workers(&fixture, &token).await;
            if workers.iter().all(|it| it["runs"].as_u64() > Some(0)) {
                return workers;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let workers = tokio::time::timeout(Duration::from_secs(30), all_have_run).await.unwrap();
    let names: BTreeSet<&str> = workers.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), workers.len(), "each name is there once");
    for name in ["core.renew_blocks", "runtimes.reconcile", "tenants.sweep_permissions"] {
        assert!(names.contains(name), "{name} is one of {names:?}");
    }
    for worker in &workers {
        assert!(worker["description"].as_str().unwrap().ends_with('.'), "{worker}");
        assert!(worker["period_ms"].as_u64() > Some(0), "{worker}");
        assert!(
            ["START", "DOORBELL", "REQUEUE", "PERIOD"].contains(&worker["last_reason"].as_str().unwrap())
        );
        assert!(worker["last_started"].is_string() && worker["last_duration_ms"].is_u64(), "{worker}");
        assert!(worker["last_changed"].is_u64() != worker["last_problem"].is_string(), "{worker}");
    }
    fixture.stop().await;
}
