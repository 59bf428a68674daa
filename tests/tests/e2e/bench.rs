//! `omgctl bench` against the real backend, and the board that shows what the backend tells of
//! itself.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use omgservers_tests::{Backend, Studio, binary, eventually, root};
use serde_json::Value;

/// As many players in one lobby as the bench wants, and a mode for a day.
const CONFIG: &str = r#"{
    "modes": [{"name": "pair", "min_players": 2, "max_players": 2,
        "groups": [{"name": "all", "min_players": 2, "max_players": 2}]}],
    "deployment": {"lobby": {"max_assignments": 500, "cpu_limit": 100, "memory_limit": 128},
        "match": {"cpu_limit": 20, "memory_limit": 64}}}"#;

/// A backend with the sample game in a stage; limits of addresses are off, for all players come
/// from here.
async fn stage() -> (Backend, Studio) {
    let backend = Backend::with(&[("OMGSERVERS__LIMITS__ENABLED", "false")]).await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, CONFIG).await;
    studio.deploy(version).await;
    (backend, studio)
}

fn bench(url: &str, scenario: &str, studio: Option<&Studio>, more: &[&str]) -> Output {
    let mut command = Command::new(binary("omgservers-ctl", "omgctl"));
    command.args(["bench", scenario]);
    if let Some(studio) = studio {
        command.args([studio.tenant.to_string(), studio.project.to_string(), studio.stage.to_string()]);
    }
    command.args(["--url", url]).args(more).output().unwrap()
}

/// Runs it in small, and answers its report.
async fn small(backend: &Backend, scenario: &str, studio: &Studio, more: &[&str]) -> Value {
    timed(backend, scenario, studio, "3", more).await
}

async fn timed(backend: &Backend, scenario: &str, studio: &Studio, seconds: &str, more: &[&str]) -> Value {
    let args = [&["--json", "--warm-up", "1", "--seconds", seconds], more].concat();
    let output = tokio::task::block_in_place(|| bench(&backend.url(), scenario, Some(studio), &args));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn series<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["runs"][0]["series"].as_array().unwrap();
    all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no series {name} in {report}"))
}

/// Everything that was begun was done, each in a time above zero.
fn complete(report: &Value, name: &str, least: u64) {
    let series = series(report, name);
    let begun = series["begun"].as_u64().unwrap();
    assert!(begun >= least, "{name}: {series}");
    assert_eq!(
        (series["failed"].as_u64(), series["latency"]["count"].as_u64()),
        (Some(0), Some(begun)),
        "{name}: {series}"
    );
    assert!(series["latency"]["p50_us"].as_u64() > Some(0), "{name}: {series}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn every_scenario_of_a_bench_is_done_completely_and_its_players_leave() {
    let (backend, studio) = stage().await;
    let report = small(&backend, "sign-up", &studio, &["--rate", "10"]).await;
    complete(&report, "sign-up", 10);
    complete(&report, "create-token", 10);
    let report = small(&backend, "empty", &studio, &["--rate", "50", "--players", "4"]).await;
    complete(&report, "interchange", 100);
    for scenario in ["interchange", "stream", "dispatcher"] {
        let report = small(&backend, scenario, &studio, &["--rate", "20", "--players", "4"]).await;
        complete(&report, "round trip", 30);
        assert_eq!(report["runs"][0]["timeline"].as_array().unwrap().len(), 3, "{scenario}");
    }
    for scenario in ["interchange", "stream"] {
        let more =
            ["--rate", "5", "--players", "4", "--batch", "10", "--bytes", "200", "--arrivals", "constant"];
        let report = small(&backend, scenario, &studio, &more).await;
        complete(&report, "round trip", 15);
    }
    let report = small(&backend, "broadcast", &studio, &["--rate", "4", "--players", "10"]).await;
    complete(&report, "delivery", 60);
    complete(&report, "to everybody", 6);
    let client = reqwest::Client::new();
    eventually("the lobby is empty again", async || {
        let url = format!("{}/metrics", backend.url());
        let metrics = client.get(url).send().await.unwrap().text().await.unwrap();
        metrics.contains("\nomgservers_player_streams 0\n")
            && metrics.contains("\nomgservers_dispatcher_connections{role=\"player\"} 0\n")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn players_of_a_day_come_and_talk_and_are_matched() {
    let (backend, studio) = stage().await;
    let report = timed(&backend, "day", &studio, "20", &["--rate", "4", "--mode", "pair"]).await;
    complete(&report, "sign-up", 30);
    complete(&report, "join", 30);
    assert_eq!(series(&report, "message")["failed"], 0, "{report}");
    assert!(series(&report, "message")["latency"]["count"].as_u64() > Some(50), "{report}");
    assert!(series(&report, "leave")["latency"]["count"].as_u64() > Some(0), "{report}");
    assert!(series(&report, "match")["latency"]["count"].as_u64() > Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_capacity_is_found_step_by_step_and_drawn() {
    let (backend, studio) = stage().await;
    let picture = tempfile::tempdir().unwrap();
    let svg = picture.path().join("found.svg");
    let args =
        ["--find", "--p99", "200", "--rate", "400", "--seconds", "1", "--warm-up", "0", "--players", "8"];
    let args = [&args[..], &["--svg", svg.to_str().unwrap()]].concat();
    let output = tokio::task::block_in_place(|| bench(&backend.url(), "empty", Some(&studio), &args));
    let (printed, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{error}");
    assert!(printed.contains("interchanges per second with a p99 of at most 200.00 ms"), "{printed}");
    assert!(printed.contains("holds") && printed.contains("too"), "{printed}");
    assert!(error.lines().filter(|it| it.contains('%')).count() >= 3, "a line for each step: {error}");
    assert!(std::fs::read_to_string(svg).unwrap().contains("Latency over rate"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_bench_that_cant_be_done_reports_why_and_loads_nobody() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let refused = |url: &str, scenario: &str, studio: Option<&Studio>, more: &[&str], sentence: &str| {
        let output = bench(url, scenario, studio, more);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(sentence), "{error}");
    };
    refused("http://192.0.2.1:8080", "sign-up", None, &[], "--i-own-this-server");
    refused(&backend.url(), "stream", None, &[], "needs a tenant, a project and a stage");
    // Nothing is deployed.
    refused(&backend.url(), "stream", Some(&studio), &["--players", "1"], "the session can't be begun");
    let limited =
        bench(&backend.url(), "sign-up", None, &["--rate", "2000", "--seconds", "3", "--warm-up", "0"]);
    let output = String::from_utf8(limited.stdout).unwrap();
    assert!(output.contains("OMGSERVERS__LIMITS__ENABLED=false"), "{output}");
}

/// Names of series in what Prometheus would read.
fn exposed(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|it| !it.starts_with('#'));
    lines
        .filter_map(|it| it.split(['{', ' ']).next())
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Names of series that the board asks for.
fn asked(board: &Value) -> BTreeSet<String> {
    let expressions = board["panels"].as_array().unwrap().iter().flat_map(|it| it["targets"].as_array());
    let mut names = BTreeSet::new();
    for target in expressions.flatten() {
        let expression = target["expr"].as_str().unwrap();
        for (at, _) in expression.match_indices('{') {
            let before = expression[..at].rsplit(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            names.insert(before.into_iter().next().unwrap().to_owned());
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_board_that_is_checked_in_reads_what_the_backend_measures_and_shows_all_of_it() {
    let board = std::fs::read_to_string(root().join("deploy/grafana.json")).unwrap();
    let asked = asked(&serde_json::from_str(&board).unwrap());
    let log = tempfile::tempdir().unwrap();
    let backend = Backend::with(&[("OMGSERVERS__MATCHES__TICKET_LOG", log.path().to_str().unwrap())]).await;
    // Problems have the label of their code, so that there is none before the first.
    reqwest::get(format!("{}/nowhere", backend.url())).await.unwrap();
    let metrics = reqwest::get(format!("{}/metrics", backend.url())).await.unwrap().text().await.unwrap();
    let exposed = exposed(&metrics);
    let missing: Vec<_> = asked.difference(&exposed).collect();
    assert!(missing.is_empty(), "the board asks for what isn't there: {missing:?}\n{metrics}");

    // A histogram is shown when one of its parts is; of the process itself not everything is worth
    // a panel.
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<String> = asked.iter().map(|it| base(it)).collect();
    let hidden: Vec<_> =
        exposed.iter().filter(|it| !it.starts_with("process_") && !shown.contains(&base(it))).collect();
    assert!(hidden.is_empty(), "the board doesn't show {hidden:?}");
}
