//! The stock Docker client, with a configuration of its own: nobody's logins are touched.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::sample::Sample;

/// How long one call may take; pushing is the longest.
const CALL: Duration = Duration::from_secs(120);

/// The Docker client.
pub(crate) struct Docker {
    config: TempDir,
}

impl Docker {
    /// Looks whether client and daemon are there.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let docker = Self { config: TempDir::new().context("no temporary directory can be made")? };
        let mut version = docker.command();
        version.args(["version", "--format", "{{.Server.Version}}"]);
        match run(version, b"", Duration::from_secs(10)).await {
            Ok(_) => Ok(docker),
            Err(DockerFailure::Missing) => {
                bail!("the program `docker` isn't there: install Docker (Debian: docker.io)")
            }
            Err(DockerFailure::Reported(reason)) => {
                bail!(
                    "Docker doesn't answer: start it, or get the right to use it (group docker). It says: {reason}"
                )
            }
        }
    }

    /// Makes an image with nothing but the game server in it.
    pub(crate) async fn import(&self, sample: &Sample, image: &str) -> anyhow::Result<()> {
        let archive = sample.archive()?;
        let mut import = self.command();
        import.arg("import");
        for change in ["ENTRYPOINT [\"/arena\"]", "USER 65532:65532"] {
            import.args(["--change", change]);
        }
        import.args(["-", image]);
        self.expect(import, &archive, "docker import").await
    }

    /// Signs in; the password doesn't appear among the arguments.
    pub(crate) async fn login(&self, registry: &str, user: &str, password: &str) -> anyhow::Result<()> {
        let mut login = self.command();
        login.args(["login", "--username", user, "--password-stdin", registry]);
        self.expect(login, password.as_bytes(), "docker login").await
    }

    /// Pushes an image.
    pub(crate) async fn push(&self, image: &str) -> anyhow::Result<()> {
        let mut push = self.command();
        push.args(["push", "--quiet", image]);
        self.expect(push, b"", "docker push").await
    }

    async fn expect(&self, command: Command, stdin: &[u8], what: &str) -> anyhow::Result<()> {
        match run(command, stdin, CALL).await {
            Ok(_) => Ok(()),
            Err(DockerFailure::Missing) => bail!("the program `docker` isn't there any more"),
            Err(DockerFailure::Reported(reason)) => bail!("{what} failed: {reason}"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", self.config.path());
        command
    }
}

enum DockerFailure {
    Missing,
    Reported(String),
}

async fn run(mut command: Command, stdin: &[u8], most: Duration) -> Result<String, DockerFailure> {
    let report = |error: std::io::Error| DockerFailure::Reported(error.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DockerFailure::Missing,
        _ => report(error),
    })?;
    let work = async {
        if let Some(mut pipe) = child.stdin.take() {
            // A program that gives up early says why on its own.
            let _closed = pipe.write_all(stdin).await;
        }
        child.wait_with_output().await
    };
    let output = match timeout(most, work).await {
        Ok(output) => output.map_err(report)?,
        Err(_) => return Err(DockerFailure::Reported(format!("no answer within {} s", most.as_secs()))),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let last = error.lines().rev().find(|it| !it.trim().is_empty()).unwrap_or("nothing").trim();
    Err(DockerFailure::Reported(last.to_owned()))
}
