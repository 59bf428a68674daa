//! Docker's own client and daemon against the registry.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::Output,
    sync::Mutex,
};

use omgservers_api::{Role, UserId, roles::ImageQualifier};
use omgservers_versions::Repository;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::Command,
};

use crate::fixture::{RegistryFixture, error, header};
use omgservers_versions::Versions as _;

/// One user's `docker`, with what it made in the daemon.
struct Docker {
    config: TempDir,
    images: Mutex<Vec<String>>,
}

impl Docker {
    fn new() -> Self {
        Self { config: tempfile::tempdir().unwrap(), images: Mutex::default() }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.arg("--config").arg(self.config.path()).args(arguments);
        command.output().await.unwrap()
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "docker {arguments:?}: {}", text(&output));
        text(&output)
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "docker {arguments:?} succeeded: {}", text(&output));
        text(&output)
    }

    async fn login(&self, fixture: &RegistryFixture, (user, password): &(UserId, String)) {
        let user = user.to_string();
        self.ok(&["login", "-u", &user, "-p", password, &fixture.host]).await;
    }

    /// An image with one file of these bytes.
    async fn import(&self, name: &str, content: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), content).unwrap();
        self.import_dir(name, dir.path()).await;
    }

    async fn import_dir(&self, name: &str, dir: &Path) {
        let archive: PathBuf = self.config.path().join("image.tar");
        let tar = Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(&archive).arg("file").output();
        assert!(tar.await.unwrap().status.success());
        self.images.lock().unwrap().push(name.to_owned());
        self.ok(&["import", "--change", "ENTRYPOINT [\"/file\"]", archive.to_str().unwrap(), name]).await;
        std::fs::remove_file(archive).unwrap();
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for image in self.images.lock().unwrap().iter() {
            let _removed = std::process::Command::new("docker").args(["rmi", "-f", image]).output();
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn name(fixture: &RegistryFixture, repository: Repository, tag: impl ToString) -> String {
    format!("{}/{repository}:{}", fixture.host, tag.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_login_keeps_a_token_and_a_wrong_one_reports_why() {
    let fixture = RegistryFixture::new().await;
    let (user, password) = fixture.developer(fixture.version_path().await).await;
    let docker = Docker::new();
    let user = user.to_string();
    let refused = docker.fails(&["login", "-u", &user, "-p", "wrong", &fixture.host]).await;
    assert!(refused.contains("no user of this role has these credentials"), "{refused}");
    docker.ok(&["login", "-u", &user, "-p", &password, &fixture.host]).await;
    let kept = std::fs::read_to_string(docker.config.path().join("config.json")).unwrap();
    assert!(kept.contains("identitytoken") && !kept.contains(&password), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn an_image_is_pushed_mounted_and_pulled() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let docker = Docker::new();
    docker.login(&fixture, &fixture.developer(path).await).await;
    let image = name(&fixture, path.universal(), path.version);
    docker.import(&image, b"a game server").await;
    let pushed = docker.ok(&["push", &image]).await;
    let attached = fixture.versions.images(path.version).await.unwrap();
    assert!(pushed.contains(&attached[0].digest), "{pushed}");

    let second = name(&fixture, path.of(ImageQualifier::Lobby), path.version);
    docker.ok(&["tag", &image, &second]).await;
    docker.images.lock().unwrap().push(second.clone());
    let mounted = docker.ok(&["push", &second]).await;
    assert!(mounted.contains("Mounted from"), "{mounted}");

    let id = docker.ok(&["image", "inspect", "-f", "{{.Id}}", &image]).await;
    docker.ok(&["rmi", &image, &second]).await;
    docker.ok(&["pull", &image]).await;
    assert_eq!(docker.ok(&["image", "inspect", "-f", "{{.Id}}", &image]).await, id);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_push_to_where_one_may_not_push_reports_why() {
    let fixture = RegistryFixture::new().await;
    let (mine, foreign) = (fixture.version_path().await, fixture.version_path().await);
    let docker = Docker::new();
    let developer = fixture.developer(mine).await;
    docker.login(&fixture, &developer).await;
    let image = name(&fixture, foreign.universal(), foreign.version);
    docker.import(&image, b"an intruder").await;
    let refused = docker.fails(&["push", &image]).await;
    assert!(refused.contains("denied"), "{refused}");
    let pulled = docker.fails(&["pull", &image]).await;
    assert!(pulled.contains("denied"), "{pulled}");

    for (tag, word) in [("12345", "id of a version"), (&foreign.version.to_string(), "another project")] {
        let image = name(&fixture, mine.universal(), tag);
        docker.import(&image, b"a stray").await;
        let refused = docker.fails(&["push", &image]).await;
        assert!(refused.contains(word), "{refused}");
    }
    let elsewhere = format!("{}/library/game:1", fixture.host);
    docker.import(&elsewhere, b"a stray").await;
    let refused = docker.fails(&["push", &elsewhere]).await;
    assert!(refused.contains("omgservers/<tenant id>/<project id>"), "{refused}");
    for path in [mine, foreign] {
        assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
    }

    // Support may look and not touch.
    let support = Docker::new();
    support.login(&fixture, &fixture.user(Role::Support).await).await;
    let image = name(&fixture, mine.universal(), mine.version);
    docker.import(&image, b"mine").await;
    docker.ok(&["push", &image]).await;
    support.ok(&["pull", &image]).await;
    let refused = support.fails(&["push", &image]).await;
    assert!(refused.contains("denied"), "{refused}");

    // Who didn't log in gets nothing.
    let nobody = Docker::new();
    for verb in ["pull", "push"] {
        nobody.fails(&[verb, &image]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_tag_is_pushed_again() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let docker = Docker::new();
    docker.login(&fixture, &fixture.developer(path).await).await;
    let image = name(&fixture, path.universal(), path.version);
    let mut digests = Vec::new();
    for content in ["first", "second"] {
        docker.import(&image, content.as_bytes()).await;
        docker.ok(&["push", &image]).await;
        let images = fixture.versions.images(path.version).await.unwrap();
        assert_eq!(images.len(), 1);
        digests.push(images[0].digest.clone());
    }
    assert_ne!(digests[0], digests[1]);
    let head = fixture.owner(path.universal()).head(&format!("manifests/{}", path.version)).await;
    assert_eq!(header(head.headers(), "docker-content-digest"), digests[1]);
    let old = format!("{}/{}@{}", fixture.host, path.universal(), digests[0]);
    docker.images.lock().unwrap().push(old.clone());
    docker.ok(&["pull", &old]).await;
}

/// The most memory that this process had since the last call, in MiB, and what it has at the
/// moment.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|it| it.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let found = (field("VmHWM:"), field("VmRSS:"));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_large_layer_goes_through_little_memory() {
    const SIZE: u64 = 64 << 20;
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let docker = Docker::new();
    docker.login(&fixture, &fixture.developer(path).await).await;
    let image = name(&fixture, path.universal(), path.version);
    let dir = tempfile::tempdir().unwrap();
    let mut random = std::fs::File::open("/dev/urandom").unwrap().take(SIZE);
    std::io::copy(&mut random, &mut std::fs::File::create(dir.path().join("file")).unwrap()).unwrap();
    docker.import_dir(&image, dir.path()).await;
    let (_, before) = memory();
    docker.ok(&["push", &image]).await;
    docker.ok(&["rmi", &image]).await;
    docker.ok(&["pull", &image]).await;
    let (most, _) = memory();
    // Other tests run at the same time in this process; the layer alone is larger than this.
    assert!(most < before + 40, "{before} MiB grew to {most} MiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_host_without_a_login_pulls_with_a_token_of_the_backend() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let docker = Docker::new();
    docker.login(&fixture, &fixture.developer(path).await).await;
    let image = name(&fixture, path.universal(), path.version);
    docker.import(&image, b"a game server of its own").await;
    docker.ok(&["push", &image]).await;
    docker.ok(&["rmi", &image]).await;
    let digest = fixture.versions.images(path.version).await.unwrap().remove(0).digest;
    let repository = format!("{}/{}", fixture.host, path.universal());
    docker.images.lock().unwrap().push(format!("{repository}@{digest}"));

    let token = fixture.docker.pull_token(&path.universal().to_string()).unwrap();
    let pulled = create_image(&repository, &digest, &token).await;
    assert!(pulled.contains("Status: Downloaded newer image"), "{pulled}");
    docker.ok(&["rmi", &format!("{repository}@{digest}")]).await;
    let other = fixture.docker.pull_token(&path.of(ImageQualifier::Match).to_string()).unwrap();
    let refused = create_image(&repository, &digest, &other).await;
    assert!(!refused.contains("Downloaded"), "{refused}");
    let anonymous = fixture.request(reqwest::Method::GET, "/v2/").send().await.unwrap();
    assert_eq!(error(anonymous).await.0, 401);
}

/// `POST /images/create` of the daemon, as the backend calls it.
async fn create_image(repository: &str, digest: &str, token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE};
    let auth = URL_SAFE.encode(serde_json::json!({"registrytoken": token}).to_string());
    let path = format!("/images/create?fromImage={repository}&tag={digest}");
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: docker\r\nX-Registry-Auth: {auth}\r\nContent-Length: 0\r\n\r\n"
    );
    let mut daemon = UnixStream::connect("/var/run/docker.sock").await.unwrap();
    daemon.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    daemon.read_to_string(&mut answer).await.unwrap();
    answer
}
