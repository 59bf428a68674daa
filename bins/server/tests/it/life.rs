use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use omgservers_testkit::TestDb;
use rustix::process::Signal;

use crate::program::{Serve, client, folder, status, until_async};

#[tokio::test]
async fn the_server_uses_a_database_that_is_there_and_answers_for_it() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data).set("OMGSERVERS__DATABASE__URL", db.url()).start().await;
    assert!(!data.join("pg").exists(), "no PostgreSQL of its own");
    let answer = client().get(format!("{}/healthz", server.url)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"{"status":"ok"}"#);
    let metrics = client().get(format!("{}/metrics", server.url)).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_may_open_as_many_files_as_the_hard_limit_allows() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let url = db.url();
    let mut server = Serve::new(&data).set("OMGSERVERS__DATABASE__URL", url).open_files(256).start().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let line = limits.lines().find(|it| it.starts_with("Max open files")).unwrap();
    let values: Vec<&str> = line.split_whitespace().rev().skip(1).take(2).collect();
    assert_eq!(values[0], values[1], "{line}");
    assert_ne!(values[1], "256", "{line}");
    server.stop().await;
}

#[tokio::test]
async fn a_read_only_database_is_not_ready_and_refuses_writes_for_a_time() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data).set("OMGSERVERS__DATABASE__URL", db.url()).start().await;
    let sign_up = || {
        let url = format!("{}/service/v1/entrypoint/player/request/create-user", server.url);
        client().post(url).header("content-type", "application/json").body("{}").send()
    };
    assert_eq!(sign_up().await.unwrap().status(), 200);
    db.read_only(true).await;
    // Connections of the pool that have ended answer first.
    until_async("it isn't ready", async || {
        let answer = client().get(format!("{}/readyz", server.url)).send().await.unwrap();
        answer.status() == 503 && answer.text().await.unwrap().contains("read-only")
    })
    .await;
    let refused = sign_up().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    db.read_only(false).await;
    until_async("it writes again", async || sign_up().await.unwrap().status() == 200).await;
    let ready = format!("{}/readyz", server.url);
    until_async("it is ready again", async || status(&ready).await.unwrap() == 200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_stop_with_idle_connections_takes_no_longer_than_it_must() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data).set("OMGSERVERS__DATABASE__URL", db.url()).start().await;
    let client = client();
    for _ in 0..20 {
        client.get(format!("{}/healthz", server.url)).send().await.unwrap().text().await.unwrap();
    }
    let start = Instant::now();
    server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}\n{}", start.elapsed(), server.log());
}

#[tokio::test]
async fn a_server_is_unready_before_it_stops() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data)
        .set("OMGSERVERS__DATABASE__URL", db.url())
        .set("OMGSERVERS__SERVER__UNREADY_SECONDS", 30)
        .start()
        .await;
    server.signal(Signal::TERM);
    let mut seen = 200;
    while seen == 200 {
        seen = status(&format!("{}/readyz", server.url)).await.unwrap();
    }
    assert_eq!(seen, 503);
    assert_eq!(status(&format!("{}/healthz", server.url)).await.unwrap(), 200, "it still serves");
    // Who can't wait says it twice.
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_refusal_of_the_registry_is_in_the_log_under_the_id_of_its_request() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let mut server = Serve::new(&folder.path().join("data"))
        .set("OMGSERVERS__DATABASE__URL", db.url())
        .set("OMGSERVERS__LOG__FILTER", "info,omgservers_http=debug")
        .start()
        .await;
    for (id, path) in
        [("docker-asks", "/service/v1/entrypoint/docker/request/create-token"), ("registry-asks", "/v2/")]
    {
        let request = client().get(format!("{}{path}", server.url)).header("x-request-id", id);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["x-request-id"], id);
        assert!(answer.text().await.unwrap().contains(&format!(r#""request_id":"{id}""#)));
        assert!(server.log().contains(id), "{}", server.log());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_second_server_on_the_database_takes_it_and_the_first_one_stops_writing() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let url = db.url();
    let mut first = Serve::new(&folder.path().join("a")).set("OMGSERVERS__DATABASE__URL", url).start().await;
    let mut second = Serve::new(&folder.path().join("b")).set("OMGSERVERS__DATABASE__URL", url).start().await;
    assert_eq!(first.ended().await.code(), Some(3), "not to be restarted: {}", first.log());
    assert!(first.log().contains("another server has taken this database"), "{}", first.log());
    second.stop().await;
}

#[tokio::test]
async fn an_address_that_sends_too_much_without_a_token_gets_a_time_to_retry() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data)
        .set("OMGSERVERS__DATABASE__URL", db.url())
        .set("OMGSERVERS__LIMITS__ANONYMOUS_PER_SECOND", 1)
        .set("OMGSERVERS__LIMITS__ANONYMOUS_BURST", 40)
        .start()
        .await;
    let client = client();
    let url = format!("{}/service/v1/entrypoint/player/request/ping-service", server.url);
    let refused = loop {
        let answer = client.post(&url).body(r#"{"message":"x"}"#).send().await.unwrap();
        if answer.status() == 429 {
            break answer;
        }
    };
    assert!(refused.headers().contains_key("retry-after"));
    let body = refused.text().await.unwrap();
    assert!(body.contains("\"qualifier\"") && body.contains("\"request_id\""), "{body}");
    let other = url.replace("ping-service", "interchange");
    let known = client.post(&other).bearer_auth("x").send().await.unwrap();
    assert_eq!(known.status(), 401, "an endpoint that asks for a token isn't limited by address");
    assert_eq!(status(&format!("{}/healthz", server.url)).await.unwrap(), 200, "nor are those who watch");
    server.stop().await;
}

#[tokio::test]
async fn operators_passwords_have_a_limit_of_their_own_however_the_path_is_written() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = Serve::new(&data)
        .set("OMGSERVERS__DATABASE__URL", db.url())
        .set("OMGSERVERS__LIMITS__PASSWORDS_PER_SECOND", 1)
        .set("OMGSERVERS__LIMITS__PASSWORDS_BURST", 3)
        // Two addresses that a proxy of ours tells of have two buckets.
        .set("OMGSERVERS__LIMITS__TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let client = client();
    let base = format!("{}/service/v1/entrypoint", server.url);
    let get = async |path: &str, lines: [&str; 2]| {
        let request = client.post(format!("{base}/{path}")).header("content-type", "application/json");
        let request = lines.iter().fold(request, |it, line| it.header("x-forwarded-for", *line));
        request.body(r#"{"user":"support","password":"a guess"}"#).send().await.unwrap().status().as_u16()
    };
    let paths =
        ["support/request/create-token", "developer/request/create-toke%6E", "admin/request/%63reate-token"];
    for path in paths.into_iter().chain(["docker/request/create-token", "docker/request/token"]) {
        let mut asked = 0;
        // What stands in the first line the client has invented.
        while get(path, [&format!("203.0.113.{asked}"), "198.51.100.7"]).await != 429 {
            asked += 1;
            assert!(asked < 20, "{path} isn't limited");
        }
    }
    assert_eq!(get(paths[0], ["203.0.113.2", "198.51.100.8"]).await, 401, "another address");
    let sign_up = get("player/request/create-user", ["203.0.113.2", "198.51.100.7"]).await;
    assert_eq!(sign_up, 200, "players aren't held up by those who guess");
    server.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_reported() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let mut server = Serve::new(&data)
        .set("OMGSERVERS__DATABASE__URL", db.url())
        .set("OMGSERVERS__SERVER__BIND", &addr)
        .spawn();
    assert_eq!(server.ended().await.code(), Some(1));
    assert!(server.log().contains(&format!("can't listen on {addr}")), "{}", server.log());
}

#[tokio::test]
async fn the_first_start_makes_users_whose_passwords_only_the_owner_can_read() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let start = || Serve::new(&data).set("OMGSERVERS__DATABASE__URL", db.url());
    let mut server = start().start().await;
    let file = data.join("credentials.txt");
    let text = fs::read_to_string(&file).unwrap();
    let users: toml::Table = text.parse().unwrap();
    assert_eq!(users.keys().collect::<Vec<_>>(), ["admin", "service", "support"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!server.log().contains(users["support"].as_str().unwrap()), "a password is in the log");
    let support = users["support"].as_str().unwrap().to_owned();
    assert_eq!(sign_in(&server.url, "support", &support).await, 200);
    assert_eq!(sign_in(&server.url, "support", "wrong").await, 401);
    server.stop().await;

    // A configured password replaces the generated one; the others stay.
    let mut server = start().set("OMGSERVERS__BOOTSTRAP__SUPPORT_PASSWORD", "correct horse").start().await;
    assert_eq!(sign_in(&server.url, "support", "correct horse").await, 200);
    assert_eq!(sign_in(&server.url, "support", &support).await, 401);
    assert_eq!(sign_in(&server.url, "admin", users["admin"].as_str().unwrap()).await, 200);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    server.stop().await;
}

async fn sign_in(url: &str, user: &str, password: &str) -> u16 {
    let body = serde_json::json!({ "user_id": user, "password": password }).to_string();
    let url = format!("{url}/service/v1/entrypoint/{user}/request/create-token");
    let request = client().post(url).header("content-type", "application/json").body(body);
    request.send().await.unwrap().status().as_u16()
}
