use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use omgservers_client::fake::{FakeBackend, ReceivedRequest, Reply};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Ctl {
    fake: FakeBackend,
    home: TempDir,
}

impl Ctl {
    async fn start(answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> Self {
        let fake = FakeBackend::start(move |request, _| match request.verb() {
            "create-token" if request.body.contains("right") => Reply::ok(&json!({"raw_token": "t0ken"})),
            "create-token" => {
                Reply::problem(401, "WRONG_CREDENTIALS", "auth.credentials", "wrong user or password")
            }
            _ => answer(request),
        })
        .await
        .unwrap();
        Self { fake, home: TempDir::new().unwrap() }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_omgctl"))
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments doesn't read.
        let _refused = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn login(&self, role: &str) -> Output {
        let url = &self.fake.url;
        self.run_with(&["login", "--url", url, "--role", role, "--user", role, "--password-stdin"], "right\n")
    }

    fn last(&self) -> ReceivedRequest {
        self.fake.received().pop().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signs_in_once_and_then_asks() {
    let ctl = Ctl::start(|_| Reply::Body(200, r#"{"id":"7"}"#.into())).await;
    let login = ctl.login("support");
    assert!(login.status.success(), "{}", stderr(&login));
    assert!(!stdout(&login).contains("t0ken"));
    assert!(ctl.home.path().join(".config/omgservers/credentials.json").is_file());
    let created = ctl.run(&["support", "create-tenant"]);
    assert_eq!(stdout(&created), " id  7\n");
    assert_eq!(ctl.last().token.as_deref(), Some("t0ken"));
    assert_eq!(stdout(&ctl.run(&["--json", "support", "create-tenant"])), "{\"id\":\"7\"}\n");
    assert_eq!(stdout(&ctl.run(&["support", "create-tenant", "--json"])), "{\"id\":\"7\"}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_a_login_learns_how_to_get_one() {
    let ctl = Ctl::start(|_| Reply::Close).await;
    assert!(ctl.login("support").status.success());
    let refused = ctl.run(&["developer", "get-tenant-details", "acme"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        stderr(&refused),
        "error: there is no login of developer in the profile `default`: \
         run `omgctl login --url <url> --role developer --user <user>`\n"
    );
    let other = ctl.run(&["--profile", "other", "support", "create-tenant"]);
    assert!(stderr(&other).contains("profile `other`"), "{}", stderr(&other));
    assert!(ctl.run(&["logout", "--role", "support"]).status.success());
    assert_eq!(ctl.run(&["support", "create-tenant"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_its_own_backend_only() {
    let ctl = Ctl::start(|_| Reply::Body(200, r#"{"id":"7"}"#.into())).await;
    let other = Ctl::start(|_| Reply::Body(200, r#"{"id":"7"}"#.into())).await;
    assert!(ctl.login("support").status.success());
    let refused = ctl.run(&["--url", &other.fake.url, "support", "create-tenant"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("the login of support is for"), "{}", stderr(&refused));
    assert!(other.fake.received().is_empty());
    let given = ctl.run(&["--url", &other.fake.url, "--token", "mine", "support", "create-tenant"]);
    assert!(given.status.success());
    assert_eq!(other.last().token.as_deref(), Some("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_goes_to_stderr_with_code_and_request() {
    let ctl =
        Ctl::start(|_| Reply::problem(404, "OBJECT_NOT_FOUND", "tenants.not_found", "no such tenant")).await;
    ctl.login("support");
    let refused = ctl.run(&["support", "delete-tenant", "nope"]);
    assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(1), ""));
    assert_eq!(
        stderr(&refused),
        "error: no such tenant\n  code:    tenants.not_found (OBJECT_NOT_FOUND)\n  request: r-1\n"
    );
    let body: Value =
        serde_json::from_str(&stderr(&ctl.run(&["--json", "support", "delete-tenant", "nope"]))).unwrap();
    assert_eq!(
        body,
        json!({"qualifier": "OBJECT_NOT_FOUND", "code": "tenants.not_found", "detail": "no such tenant", "request_id": "r-1"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_reported_with_what_to_do() {
    for expired in [
        Reply::problem(401, "WRONG_CREDENTIALS", "auth.token", "the token isn't valid, or not any more"),
        Reply::Body(401, String::new()),
    ] {
        let ctl = Ctl::start(move |_| expired.clone()).await;
        ctl.login("admin");
        let refused = stderr(&ctl.run(&["admin", "generate-id"]));
        let start = format!(
            "error: the login of admin is over, run `omgctl login --url {} --role admin --user admin`",
            ctl.fake.url
        );
        assert!(refused.starts_with(&start), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_backend_are_sentences() {
    let ctl = Ctl::start(|_| Reply::Close).await;
    let url = ctl.fake.url.clone();
    let wrong = ctl.run_with(
        &["login", "--url", &url, "--role", "admin", "--user", "admin", "--password-stdin"],
        "wrong",
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).starts_with("error: wrong user or password\n"), "{}", stderr(&wrong));
    let nowhere = ctl.run(&["player", "ping-service"]);
    assert!(stderr(&nowhere).contains("--url http://localhost:8080"), "{}", stderr(&nowhere));
    let gone = ctl.run(&["--url", "http://127.0.0.1:1", "player", "ping-service"]);
    assert!(stderr(&gone).contains("error: http://127.0.0.1:1 can't be reached"), "{}", stderr(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_made_from_a_file_or_from_stdin() {
    let ctl = Ctl::start(|_| Reply::Body(200, r#"{"version_id":"9"}"#.into())).await;
    ctl.login("developer");
    let config = r#"{"modes":[],"user_data":{"z":1,"a":12345678901234567890}}"#;
    let file = ctl.home.path().join("version.json");
    fs::write(&file, config).unwrap();
    let args = ["developer", "create-version", "acme", "7", "--config"];
    let sent = format!(r#"{{"tenant":"acme","project":"7","config":{config}}}"#);
    assert!(ctl.run(&[&args[..], &[file.to_str().unwrap()]].concat()).status.success());
    assert_eq!(ctl.last().body, sent);
    assert!(ctl.run_with(&[&args[..], &["-"]].concat(), config).status.success());
    assert_eq!(ctl.last().body, sent);
    let wrong = ctl.run_with(&[&args[..], &["-"]].concat(), r#"{"modes":[{"name":""}]}"#);
    assert_eq!(wrong.status.code(), Some(2));
    let missing = ctl.run(&[&args[..], &["/nonexistent.json"]].concat());
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("No such file"), "{}", stderr(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_words_of_the_contract() {
    let ctl = Ctl::start(|_| Reply::Body(200, r#"{"created_permissions":["STAGE_MANAGER"]}"#.into())).await;
    ctl.login("support");
    let args =
        ["support", "create-project-permissions", "acme", "game", "dev", "STAGE_MANAGER", "VERSION_MANAGER"];
    assert_eq!(stdout(&ctl.run(&args)), " created_permissions  STAGE_MANAGER\n");
    assert_eq!(
        ctl.last().body,
        r#"{"tenant":"acme","project":"game","user":"dev","permissions_to_create":["STAGE_MANAGER","VERSION_MANAGER"]}"#
    );
    let wrong = ctl.run(&["support", "create-project-permissions", "acme", "game", "dev", "ROOT"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("possible values: STAGE_MANAGER, VERSION_MANAGER, PROJECT_VIEWER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_be_printed_for_scripts() {
    let ctl = Ctl::start(|_| Reply::Close).await;
    let url = ctl.fake.url.clone();
    let args = ["--url", &url, "admin", "create-token", "--user", "admin", "--password-stdin"];
    assert_eq!(stdout(&ctl.run_with(&args, "right")), "t0ken\n");
    assert!(!ctl.home.path().join(".config").exists(), "nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_can_be_tried() {
    let ctl = Ctl::start(|request| match request.verb() {
        "ping-service" => Reply::Body(200, r#"{"message":"pong"}"#.into()),
        "create-user" => Reply::Body(200, r#"{"user_id":"5","password":"pw"}"#.into()),
        _ => Reply::Body(200, r#"{"client_id":"20"}"#.into()),
    })
    .await;
    let url = ctl.fake.url.clone();
    assert_eq!(stdout(&ctl.run(&["--url", &url, "player", "ping-service"])), " message  pong\n");
    assert_eq!(stdout(&ctl.run(&["--url", &url, "player", "create-user"])), " user_id   5\n password  pw\n");
    ctl.login("player");
    assert_eq!(stdout(&ctl.run(&["player", "create-client", "acme", "game", "main"])), " client_id  20\n");
}
