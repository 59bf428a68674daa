//! The registry of the real binary: a push goes on where a kill has broken it off.

use omgservers_api::entrypoint::developer::CreateVersionRequest;
use omgservers_tests::{Backend, Studio};
use reqwest::{StatusCode, header::RANGE};
use serde_json::Value;

/// 3 MiB that are no repetition of each other.
fn content() -> Vec<u8> {
    (0_u32..786_432).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn digest(content: &[u8]) -> String {
    let mut sum = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut sum.stdin.take().unwrap(), content).unwrap();
    let output = sum.wait_with_output().unwrap().stdout;
    format!("sha256:{}", String::from_utf8(output).unwrap().split(' ').next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_where_a_kill_has_broken_it_off() {
    let mut backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let config = serde_json::from_str(r#"{"modes":[]}"#).unwrap();
    let request =
        CreateVersionRequest { tenant: studio.tenant.into(), project: studio.project.into(), config };
    studio.developer.create_version(&request).await.unwrap();
    let repository = format!("omgservers/{}/{}/universal", studio.tenant, studio.project);
    let http = reqwest::Client::new();
    let token = http
        .get(format!("{}/service/v1/entrypoint/docker/request/create-token", backend.url()))
        .query(&[("service", "registry"), ("scope", &format!("repository:{repository}:pull,push"))])
        .basic_auth(studio.user, Some(&studio.password))
        .send()
        .await
        .unwrap();
    let token = token.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();

    let content = content();
    let (first, rest) = content.split_at(1 << 20);
    let started =
        http.post(format!("{}/v2/{repository}/blobs/uploads/", backend.url())).bearer_auth(&token).send();
    let started = started.await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let location = started.headers()["location"].to_str().unwrap().to_owned();
    let upload = if location.starts_with('/') { format!("{}{location}", backend.url()) } else { location };
    let sent = http.patch(&upload).bearer_auth(&token).body(first.to_vec()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);

    backend.kill();
    backend.launch().await;

    let status = http.get(&upload).bearer_auth(&token).send().await.unwrap();
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    assert_eq!(status.headers()[RANGE], format!("0-{}", first.len() - 1));
    let sent = http.patch(&upload).bearer_auth(&token).body(rest.to_vec()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    let digest = digest(&content);
    let done = http.put(&upload).query(&[("digest", &digest)]).bearer_auth(&token).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED, "{:?}", done.text().await);
    let blob = format!("{}/v2/{repository}/blobs/{digest}", backend.url());
    let back = http.get(blob).bearer_auth(&token).send().await.unwrap().bytes().await.unwrap();
    assert!(back == content, "what comes back is what was sent");
}
