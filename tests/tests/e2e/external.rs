//! A registry outside of the server: Debian's docker-registry, set up as `docs/registry.md` says.
//!
//! It runs only with `SETUP_REGISTRY=yes`, which also lets `scripts/setup.sh` install that program.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use omgservers_api::entrypoint::developer::{CreateVersionRequest, DeployVersionRequest};
use omgservers_client::Event;
use omgservers_tests::{Backend, Docker, Game, ReservedPort, Studio, eventually, root, run};

use crate::flows::wait_for;

const SECRET: &str = "32 characters that nobody guesses";

/// The program, ended with the test.
struct Outside {
    child: Child,
    folder: tempfile::TempDir,
}

impl Outside {
    /// Starts it with the configuration of the documentation, its placeholders filled in.
    fn start(backend: &Backend, address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(root().join("docs/registry.md")).unwrap();
        let (_, text) = text.split_once("```yaml\n").expect("a configuration in docs/registry.md");
        let (config, _) = text.split_once("\n```").expect("its end");
        let authority = backend.data_dir().join("keys/registry-ca.crt");
        let filled = config
            .replace("https://games.example.com", &backend.url())
            .replace("32 or more random characters of your own", SECRET)
            .replace("/etc/docker/registry/omgservers-ca.crt", authority.to_str().unwrap())
            .replace("/var/lib/docker-registry", folder.path().join("data").to_str().unwrap())
            .replace("0.0.0.0:5000", address);
        let file = folder.path().join("config.yml");
        std::fs::write(&file, filled).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed: SETUP_REGISTRY=yes scripts/setup.sh");
        Self { child, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn has(&self, repository: &str) -> bool {
        Path::new(self.folder.path()).join("data/docker/registry/v2/repositories").join(repository).is_dir()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of docker-registry\n{}", self.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker and docker-registry; SETUP_REGISTRY=yes scripts/test.sh runs it"]
async fn a_registry_outside_takes_our_tokens_and_its_events_attach_images() {
    let reserved = ReservedPort::new();
    let port = reserved.number;
    let address = format!("127.0.0.1:{port}");
    let backend = Backend::with(&[
        ("OMGSERVERS__REGISTRY__MODE", "external"),
        ("OMGSERVERS__REGISTRY__ADDRESS", &address),
        ("OMGSERVERS__REGISTRY__EVENT_SECRET", SECRET),
    ])
    .await;
    let outside = Outside::start(&backend, &address);
    let answers =
        async || reqwest::get(format!("http://{address}/v2/")).await.is_ok_and(|it| it.status() == 401);
    eventually("docker-registry asks for a token", answers).await;
    let ours = reqwest::get(format!("{}/v2/", backend.url())).await.unwrap();
    assert_eq!(ours.status(), 404, "our own is off");

    let (studio, stranger) = (Studio::open(&backend).await, Studio::open(&backend).await);
    let config = serde_json::from_str(r#"{"modes":[]}"#).unwrap();
    let request =
        CreateVersionRequest { tenant: studio.tenant.into(), project: studio.project.into(), config };
    let version_id = studio.developer.create_version(&request).await.unwrap().version_id;
    let repository = format!("omgservers/{}/{}/universal", studio.tenant, studio.project);
    let image = format!("{address}/{repository}:{version_id}");
    let docker = Docker::new();
    docker.login(&address, &studio.user.to_string(), &studio.password);
    docker.push(Game::Sample, &image);
    assert!(outside.has(&repository), "{}", outside.log());

    // The backend got the event of the push, or the version would have no image to deploy.
    let request = DeployVersionRequest {
        tenant: studio.tenant.into(),
        project: studio.project.into(),
        stage: studio.stage.into(),
        version_id,
        config: None,
    };
    let deployed = async || studio.developer.deploy_version(&request).await.is_ok();
    eventually("the image is attached", deployed).await;

    // Nobody else gets at it: not another studio, and no client without a login.
    let theirs = Docker::new();
    theirs.login(&address, &stranger.user.to_string(), &stranger.password);
    for docker in [theirs, Docker::new()] {
        for verb in ["pull", "push"] {
            let refused = docker.command(&[verb, &image]).output().unwrap();
            assert!(!refused.status.success(), "{verb}: {refused:?}");
        }
    }

    // The host pulls it with a token of the backend's own.
    run(&mut docker.command(&["rmi", "-f", &image]));
    let mut player = studio.player().await;
    wait_for(&mut player, |it| matches!(it, Event::Assigned { .. })).await;
}
