//! A backend that answers: the one that runs, or one that is started and left running.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use omgservers_client::{Client, api::entrypoint::player::PingServiceRequest, problems::FOREIGN_ANSWER};
use tokio::time::{Instant, sleep};

use super::Demo;

/// How long a backend may take to start: the first time it makes a database.
const START: Duration = Duration::from_secs(120);

/// A backend that answers.
pub(crate) struct DemoBackend {
    pub(crate) client: Client,
    pub(crate) log: PathBuf,
    /// Its process, where we know it.
    pub(crate) pid: Option<String>,
    pub(crate) pid_file: PathBuf,
    credentials: PathBuf,
    started: bool,
}

/// Passwords of the first users.
pub(crate) struct FirstPasswords {
    pub(crate) support: String,
}

impl DemoBackend {
    /// Starts a backend unless one answers on the port.
    pub(crate) async fn ensure(demo: &Demo) -> anyhow::Result<Self> {
        let client = Client::new(&format!("http://localhost:{}", demo.port))?;
        let data = &demo.data_dir;
        let mut backend = Self {
            client,
            log: data.join("server.log"),
            pid: None,
            pid_file: data.join("server.pid"),
            credentials: data.join("credentials.txt"),
            started: false,
        };
        if backend.answers(demo.port).await? {
            backend.pid = fs::read_to_string(&backend.pid_file).ok().map(|it| it.trim().to_owned());
            return Ok(backend);
        }
        let mut child = backend.start(demo)?;
        fs::write(&backend.pid_file, format!("{}\n", child.id()))
            .with_context(|| backend.pid_file.display().to_string())?;
        backend.pid = Some(child.id().to_string());
        backend.started = true;
        backend.wait(&mut child, demo.port).await?;
        Ok(backend)
    }

    /// How it came to be there.
    pub(crate) fn how(&self) -> String {
        let url = self.client.base_url();
        match (&self.pid, self.started) {
            (Some(pid), true) => format!("{url}, started as process {pid}, log in {}", self.log.display()),
            (Some(pid), false) => format!("{url}, process {pid} was running already"),
            (None, _) => format!("{url} was running already"),
        }
    }

    /// What the backend wrote down at its first start.
    pub(crate) fn credentials(&self) -> anyhow::Result<FirstPasswords> {
        let shown = self.credentials.display();
        let text = fs::read_to_string(&self.credentials).with_context(|| {
            format!("{shown} can't be read: does the backend on this port use another data directory (--data-dir)?")
        })?;
        let support = password(&text, "support")
            .with_context(|| format!("{shown} has no password of the user support"))?;
        Ok(FirstPasswords { support })
    }

    async fn answers(&self, port: u16) -> anyhow::Result<bool> {
        match self.client.ping(&PingServiceRequest { message: "demo".to_owned() }).await {
            Ok(_) => Ok(true),
            Err(problem) if problem.is(FOREIGN_ANSWER) => {
                bail!(
                    "something else than the backend answers on port {port}: choose another one with --port"
                )
            }
            Err(_) => Ok(false),
        }
    }

    fn start(&self, demo: &Demo) -> anyhow::Result<Child> {
        let program = &demo.server_binary;
        if !program.is_file() {
            bail!(
                "{} isn't there: build it with `cargo build --release -p omgservers-server`, or say --server-binary",
                program.display()
            );
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&demo.data_dir)
            .with_context(|| demo.data_dir.display().to_string())?;
        let log = File::options().append(true).create(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(&demo.data_dir)
            .env("OMGSERVERS__SERVER__BIND", format!("0.0.0.0:{}", demo.port))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // It goes on when this program or its terminal ends.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))
    }

    async fn wait(&self, child: &mut Child, port: u16) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                let log = self.log.display();
                bail!("the backend ended ({status}); the end of {log}:\n{}", tail(&self.log));
            }
            // Before its own listener is there somebody else's may answer.
            if self.answers(port).await.unwrap_or(false) {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!("the backend doesn't answer after {} s: see {}", START.as_secs(), self.log.display());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The password of a user: a line with the name, a space or `=`, and the password, bare or in
/// quotes.
fn password(text: &str, user: &str) -> Option<String> {
    let found = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(user)?;
        rest.starts_with([' ', '\t', '=']).then(|| rest.trim_start_matches([' ', '\t', '=']).trim())
    })?;
    let bare = found.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(found);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// The last lines of a file.
fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(15)).map(|it| format!("  {it}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_by_its_user() {
        let text = "# Users of this installation\nsupporter no\nadmin abc=\nsupport x/y+z==\n";
        assert_eq!(password(text, "support").as_deref(), Some("x/y+z=="));
        assert_eq!(password(text, "admin").as_deref(), Some("abc="));
        assert_eq!(password("support = \"s3 cret\"\n", "support").as_deref(), Some("s3 cret"));
        assert_eq!(password("support\n", "support"), None);
        assert_eq!(password(text, "service"), None);
    }

    #[tokio::test]
    async fn a_missing_program_is_reported_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let demo = Demo {
            server_binary: folder.path().join("omgservers"),
            data_dir: folder.path().join("data"),
            port: 1,
            sample: None,
        };
        let error = DemoBackend::ensure(&demo).await.err().unwrap().to_string();
        assert!(error.contains("cargo build --release -p omgservers-server"), "{error}");
    }

    #[tokio::test]
    async fn a_backend_that_ends_at_once_is_reported_with_its_last_words() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("omgservers");
        fs::write(&program, "#!/bin/sh\necho \"no database: $*\"\nexit 3\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let data_dir = folder.path().join("data");
        let demo = Demo { server_binary: program, data_dir: data_dir.clone(), port: 1, sample: None };
        let error = DemoBackend::ensure(&demo).await.err().unwrap().to_string();
        let reported = format!("no database: serve --data-dir {}", data_dir.display());
        assert!(error.contains("exit status: 3") && error.contains(&reported), "{error}");
        assert!(data_dir.join("server.pid").is_file());
    }
}
