use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    sync::Mutex,
};

use omgservers_client::fake::{FakeBackend, ReceivedRequest, Reply};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What waits for each client. The lobby sends as much as the sample's. A match sends only its
/// result: there are no WebSockets here, and nobody answers by UDP.
#[derive(Default)]
struct Players {
    count: u64,
    /// The client that waits for another one.
    waiting_client: Option<String>,
    waiting: BTreeMap<String, Vec<(u64, &'static str, Value)>>,
}

impl Players {
    fn push(&mut self, client: &str, qualifier: &'static str, body: Value) {
        self.count += 1;
        let entry = (self.count, qualifier, body);
        self.waiting.entry(client.to_owned()).or_default().push(entry);
    }

    /// Two clients that ask play with each other, and the second one wins.
    fn play(&mut self, client: &str, mode: &str) {
        let Some(other) = self.waiting_client.take() else {
            self.waiting_client = Some(client.to_owned());
            return;
        };
        let corner = |client: &str, touches: u8| json!({"client": client, "at": 2, "touches": touches});
        let last = json!({"red": "advance", "blue": "lunge", "touch": "blue"});
        let bout = json!({"round": 5, "red": corner(&other, 1), "blue": corner(client, 2), "last": last});
        for (player, wins) in [(other.as_str(), 0), (client, 1)] {
            let config = json!({"lobby_config": null, "match_config": {"matchmaker_id": "7", "match_id": "8", "mode": mode}, "version_config": {"modes": [], "user_data": null}});
            let direct = json!({"address": "127.0.0.1", "token": "t", "ports": [{"name": "game", "protocol": "UDP", "port": 9}]});
            let body = json!({"runtime_id": "77", "runtime_qualifier": "MATCH", "runtime_config": config, "direct": direct});
            self.push(player, "RUNTIME_ASSIGNMENT_MESSAGE", body);
            let over = json!({"over": {"winner": client, "fought": true, "bout": bout}});
            self.push(player, "SERVER_OUTGOING_MESSAGE", json!({"message": over}));
            self.assign(player, wins);
        }
    }

    fn assign(&mut self, client: &str, wins: u64) {
        let config = json!({"lobby_config": {"lobby_id": "6"}, "match_config": null, "version_config": {"modes": [], "user_data": null}});
        let body = json!({"runtime_id": "55", "runtime_qualifier": "LOBBY", "runtime_config": config});
        self.push(client, "RUNTIME_ASSIGNMENT_MESSAGE", body);
        self.push(client, "SERVER_OUTGOING_MESSAGE", json!({"message": {"hello": client, "wins": wins}}));
    }

    fn begin(&mut self) -> Reply {
        self.count += 1;
        let client = self.count.to_string();
        let welcome = json!({"tenant_id": "1", "version_id": "4", "version_created": "2025-01-25T10:00:00Z"});
        self.push(&client, "SERVER_WELCOME_MESSAGE", welcome);
        self.assign(&client, 0);
        Reply::ok(&json!({"client_id": client}))
    }

    fn exchange(&mut self, request: &Value) -> Reply {
        let client = request["client_id"].as_str().unwrap().to_owned();
        for message in request["outgoing_messages"].as_array().unwrap() {
            let data = &message["body"]["data"];
            if let Some(mode) = data["play"].as_str() {
                self.play(&client, mode);
                continue;
            }
            match data.as_str().unwrap() {
                text if text.starts_with("all: ") => {
                    for other in self.waiting.keys().cloned().collect::<Vec<_>>() {
                        self.push(&other, "SERVER_OUTGOING_MESSAGE", json!({"message": {"all": &text[5..]}}));
                    }
                }
                text => self.push(
                    &client,
                    "SERVER_OUTGOING_MESSAGE",
                    json!({"message": {"echo": text, "count": 1}}),
                ),
            }
        }
        let waiting = self.waiting.entry(client).or_default();
        let consumed = request["consumed_messages"].as_array().unwrap();
        waiting.retain(|it| !consumed.contains(&json!(it.0.to_string())));
        let messages: Vec<_> = waiting
            .iter()
            .map(|(id, qualifier, body)| json!({"id": id.to_string(), "qualifier": qualifier, "body": body}))
            .collect();
        Reply::ok(&json!({"incoming_messages": messages}))
    }
}

fn answer(players: &Mutex<Players>, request: &ReceivedRequest) -> Reply {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    match request.verb() {
        "ping-service" => Reply::ok(&json!({"message": "pong"})),
        "create-token" if body["user"] == "support" && body["password"] != "s3cret" => {
            Reply::problem(401, "WRONG_CREDENTIALS", "auth.credentials", "wrong user or password")
        }
        "create-token" => Reply::ok(&json!({"raw_token": "t"})),
        "create-tenant" => Reply::ok(&json!({"id": "1"})),
        "create-tenant-alias" if body["alias"] == "demo" => {
            Reply::problem(400, "DB_CONSTRAINT_VIOLATED", "tenants.alias_taken", "taken")
        }
        "create-developer" | "create-user" => Reply::ok(&json!({"user_id": "9", "password": "dev-pw"})),
        "create-tenant-permissions" => Reply::ok(&json!({"created_permissions": []})),
        "create-project" => Reply::ok(&json!({"project_id": "2", "stage_id": "3"})),
        "create-version" => Reply::ok(&json!({"version_id": "4"})),
        "deploy-version" => Reply::ok(&json!({"deployment_id": "5"})),
        "create-client" => players.lock().unwrap().begin(),
        "interchange" => players.lock().unwrap().exchange(&body),
        _ => Reply::ok(&json!({"created": true})),
    }
}

/// A machine with a data directory, a sample and a Docker client that writes down how it is called.
struct Machine {
    fake: FakeBackend,
    folder: TempDir,
}

impl Machine {
    async fn start(docker: &str) -> Self {
        let players = Mutex::new(Players::default());
        let fake = FakeBackend::start(move |request, _| answer(&players, request)).await.unwrap();
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("data")).unwrap();
        fs::write(path.join("data/credentials.txt"), "# Users\nadmin a\nsupport s3cret\n").unwrap();
        fs::write(path.join("sample"), b"\x7fELF and no loader").unwrap();
        fs::create_dir(path.join("bin")).unwrap();
        let program = path.join("bin/docker");
        fs::write(&program, docker.replace("CALLS", path.join("calls").to_str().unwrap())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { fake, folder }
    }

    fn run(&self) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.at("bin").display());
        Command::new(env!("CARGO_BIN_EXE_omgservers-demo"))
            .args(["--port", self.port(), "--data-dir"])
            .arg(self.at("data"))
            .arg("--sample")
            .arg(self.at("sample"))
            .env("PATH", path)
            .output()
            .unwrap()
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        Path::join(self.folder.path(), name)
    }
    fn port(&self) -> &str {
        self.fake.url.rsplit(':').next().unwrap()
    }
}

const DOCKER: &str = "#!/bin/sh\necho \"$* <$(head -c 6 | tr -d '\\0')\" >> CALLS\n";

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_the_whole_way_and_reports_it() {
    let machine = Machine::start(DOCKER).await;
    let output = machine.run();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));

    let port = machine.port();
    let image = format!("localhost:{port}/omgservers/1/2/universal:4");
    let calls = fs::read_to_string(machine.at("calls")).unwrap();
    let calls: Vec<_> = calls.lines().collect();
    assert!(calls[0].starts_with("version"), "{calls:?}");
    assert!(calls[1].starts_with("import ") && calls[1].ends_with(&format!("- {image} <arena")), "{calls:?}");
    assert_eq!(calls[2], format!("login --username 9 --password-stdin localhost:{port} <dev-pw"));
    assert_eq!(calls[3], format!("push --quiet {image} <"));

    for part in [
        "Docker answers",
        "alias demo-",
        &image,
        r#"{"count":1,"echo":"hello"}"#,
        "runtime 55",
        "runtime 77, udp 127.0.0.1:9",
        "To stop it: ",
    ] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    // Either client may ask first, and the other one wins.
    for [one, two] in [["Ann", "Bob"], ["Cleo", "Dan"]] {
        let won = |loser: &str, winner: &str| {
            let round = format!(
                "round 4: {loser} advance, {winner} lunge, touch for {winner}; on 2 and 2, 1:2\n       the winner is {winner}\n"
            );
            printed.contains(&round)
        };
        assert!(won(one, two) || won(two, one), "no duel of {one} and {two} in\n{printed}");
    }
    assert!(!printed.contains("dev-pw") && !printed.contains("s3cret"), "{printed}");
    let ctl = Command::new(env!("CARGO_BIN_EXE_omgctl"))
        .args(["--json", "developer", "create-project", "1"])
        .env("OMGCTL_CONFIG", machine.at("data/omgctl.json"))
        .output()
        .unwrap();
    assert!(ctl.status.success(), "the logins are kept: {}", String::from_utf8_lossy(&ctl.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_works_too() {
    let machine = Machine::start(DOCKER).await;
    assert!(machine.run().status.success());
    assert!(machine.run().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_reported_in_a_sentence() {
    let refused = |output: Output, sentence: &str| {
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(error.starts_with("error: ") && error.contains(sentence), "{error}");
    };
    let machine =
        Machine::start("#!/bin/sh\necho 'Cannot connect to the Docker daemon.' >&2\nexit 1\n").await;
    refused(machine.run(), "Docker doesn't answer: start it");
    let machine = Machine::start("#!/bin/sh\ncase $1 in push) echo 'denied: no' >&2; exit 1;; esac\n").await;
    refused(machine.run(), "docker push failed: denied: no");
    let machine = Machine::start(DOCKER).await;
    fs::write(machine.at("data/credentials.txt"), "support other\n").unwrap();
    refused(machine.run(), "the user support can't sign in: wrong user or password");
    fs::remove_file(machine.at("data/credentials.txt")).unwrap();
    refused(machine.run(), "another data directory (--data-dir)");
}
