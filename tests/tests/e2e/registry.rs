//! The registry of the real binary: what a kill breaks off in the middle goes on, or is done again.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use omgservers_api::{VersionId, entrypoint::developer::CreateVersionRequest};
use omgservers_tests::{Backend, Docker, Studio, run};
use reqwest::{StatusCode, header::RANGE};
use serde_json::Value;

/// 16 MiB that are no repetition of each other.
fn content() -> Vec<u8> {
    (0_u32..4 << 20).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn digest(content: &[u8]) -> String {
    let mut sum =
        std::process::Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut sum.stdin.take().unwrap(), content).unwrap();
    let output = sum.wait_with_output().unwrap().stdout;
    format!("sha256:{}", String::from_utf8(output).unwrap().split(' ').next().unwrap())
}

async fn version(studio: &Studio) -> VersionId {
    let config = serde_json::from_str(r#"{"modes":[]}"#).unwrap();
    let request =
        CreateVersionRequest { tenant: studio.tenant.into(), project: studio.project.into(), config };
    studio.developer.create_version(&request).await.unwrap().version_id
}

/// A token to pull and push.
async fn token(backend: &Backend, studio: &Studio, repository: &str) -> String {
    let answer = reqwest::Client::new()
        .get(format!("{}/service/v1/entrypoint/docker/request/create-token", backend.url()))
        .query(&[("service", "registry"), ("scope", &format!("repository:{repository}:pull,push"))])
        .basic_auth(studio.user, Some(&studio.password))
        .send();
    answer.await.unwrap().json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
}

/// The bytes on disk of the uploads under way.
fn uploading(backend: &Backend) -> u64 {
    let uploads: PathBuf = backend.data_dir().join("registry/uploads");
    let folders = std::fs::read_dir(uploads).into_iter().flatten().flatten();
    folders.filter_map(|it| std::fs::metadata(it.path().join("data")).ok()).map(|it| it.len()).sum()
}

/// Waits until uploads under way have so many bytes.
async fn uploaded(backend: &Backend, bytes: u64) {
    let start = Instant::now();
    // More often than a fast push could come to its end.
    while uploading(backend) < bytes {
        assert!(start.elapsed() < Duration::from_secs(60), "{} bytes have come", uploading(backend));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_blob_goes_on_where_a_kill_has_broken_its_stream_off() {
    let mut backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let repository = format!("omgservers/{}/{}/universal", studio.tenant, studio.project);
    let token = token(&backend, &studio, &repository).await;
    let http = reqwest::Client::new();
    let started =
        http.post(format!("{}/v2/{repository}/blobs/uploads/", backend.url())).bearer_auth(&token).send();
    let started = started.await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let upload = format!("{}{}", backend.url(), started.headers()["location"].to_str().unwrap());

    // Half of the body comes, and then it neither goes on nor ends.
    let content = content();
    let half = content[..content.len() / 2].to_vec();
    let first = futures_util::stream::iter(half.chunks(64 << 10).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let body = first.map(Ok::<_, std::io::Error>).chain(futures_util::stream::pending());
    let body = reqwest::Body::wrap_stream(body);
    let sending = tokio::spawn(http.patch(&upload).bearer_auth(&token).body(body).send());
    uploaded(&backend, 4 << 20).await;
    assert!(!sending.is_finished(), "the body is still being streamed");
    backend.kill();
    assert!(sending.await.unwrap().is_err(), "nobody answered");
    backend.launch().await;

    let status = http.get(&upload).bearer_auth(&token).send().await.unwrap();
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    let last = status.headers()[RANGE].to_str().unwrap().strip_prefix("0-").unwrap();
    let come = last.parse::<usize>().unwrap() + 1;
    assert!((4 << 20..=half.len()).contains(&come), "{come} bytes are there");
    let rest = http.patch(&upload).header("content-range", format!("{come}-{}", content.len() - 1));
    let sent = rest.bearer_auth(&token).body(content[come..].to_vec()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    let digest = digest(&content);
    let done = http.put(&upload).query(&[("digest", &digest)]).bearer_auth(&token).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED, "{:?}", done.text().await);
    let blob = format!("{}/v2/{repository}/blobs/{digest}", backend.url());
    let back = http.get(blob).bearer_auth(&token).send().await.unwrap().bytes().await.unwrap();
    assert!(back == content, "what comes back is what was sent");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_docker_push_that_a_kill_breaks_off_is_done_again_and_pulled() {
    let mut backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = version(&studio).await;
    let image =
        format!("{}/omgservers/{}/{}/universal:{version}", backend.registry(), studio.tenant, studio.project);
    let docker = Docker::new();
    docker.login(&backend.registry(), &studio.user.to_string(), &studio.password);
    docker.random_image(&image, 64 << 20);
    let id = run(&mut docker.command(&["image", "inspect", "-f", "{{.Id}}", &image]));

    let mut push = docker.command(&["push", &image]);
    let mut push = push.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    uploaded(&backend, 4 << 20).await;
    backend.kill();
    assert!(push.try_wait().unwrap().is_none(), "the push was under way");
    let broken = uploading(&backend);
    assert!((4 << 20..64 << 20).contains(&broken), "{broken} bytes of the layer are there");
    backend.launch().await;
    // Docker tries a few times by itself; whether that was enough doesn't matter.
    let _pushed = push.wait().unwrap();

    run(&mut docker.command(&["push", &image]));
    run(&mut docker.command(&["rmi", &image]));
    run(&mut docker.command(&["pull", "-q", &image]));
    assert_eq!(run(&mut docker.command(&["image", "inspect", "-f", "{{.Id}}", &image])), id);
    run(&mut docker.command(&["rmi", &image]));
    studio.deploy(version).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_images_of_a_deleted_project_go_at_once() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = version(&studio).await;
    let image =
        format!("{}/omgservers/{}/{}/universal:{version}", backend.registry(), studio.tenant, studio.project);
    let docker = Docker::new();
    docker.login(&backend.registry(), &studio.user.to_string(), &studio.password);
    docker.random_image(&image, 1 << 10);
    run(&mut docker.command(&["push", "-q", &image]));
    run(&mut docker.command(&["rmi", &image]));
    let blobs = || {
        let digits = std::fs::read_dir(backend.data_dir().join("registry/blobs/sha256")).unwrap().flatten();
        digits.map(|it| std::fs::read_dir(it.path()).unwrap().count()).sum::<usize>()
    };
    assert_eq!(blobs(), 3, "manifest, configuration, layer");
    studio.close().await;
    omgservers_tests::eventually("the files go", async || blobs() == 0).await;
}
