//! From a player's `create-client` to the lobby, with and without a lobby that is up.

use std::{
    io::Read as _,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use omgservers_api::{DeploymentId, Role, VersionId, entrypoint::developer::DeleteDeploymentRequest};
use omgservers_client::{Event, Player, Session, Transport};
use omgservers_tests::{Backend, Docker, Studio, eventually, run};

use crate::{
    report::{Bar, Measurement},
    rounds::{median, percentile},
};

/// First players, and containers by Docker's own client.
const FIRST: usize = 7;
/// Players who come when a lobby is up, and how often so many come.
const LATER: usize = 100;
const TIMES: usize = 3;
/// The longest that anything here may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A version of the sample game whose image is on the host.
pub(crate) struct Game {
    studio: Studio,
    client: omgservers_client::Client,
    version: VersionId,
    image: String,
    deployment: DeploymentId,
}

/// A player with a session.
pub(crate) struct Entrant {
    pub(crate) token: String,
    pub(crate) session: Session,
}

impl Game {
    /// Pushes and deploys it.
    pub(crate) async fn push(backend: &Backend, studio: Studio) -> Self {
        // One lobby for all: the time is not the start of a second one.
        let config = r#"{"modes":[],"deployment":{"lobby":{"max_assignments":1000}}}"#;
        let version = studio.push(backend, config).await;
        let image = format!(
            "{}/omgservers/{}/{}/universal:{version}",
            backend.registry(),
            studio.tenant,
            studio.project
        );
        let deployment = studio.deploy(version).await;
        Self { studio, client: backend.client(), version, image, deployment }
    }

    /// A new player and its token.
    async fn player(&self) -> anyhow::Result<(String, Player)> {
        let made = Player::sign_up(&self.client).await?;
        let token = self.client.create_token(Role::Player, made.user_id, &made.password).await?;
        let player = Player::with_token(&self.client, &token);
        Ok((token, player))
    }

    async fn join(&self, player: &Player) -> anyhow::Result<Session> {
        let session =
            player.create_client(self.studio.tenant, self.studio.project, self.studio.stage).await?;
        // The flows are those of the interchange.
        Ok(session.with_transport(Transport::Polling))
    }

    /// A new player in the stage.
    pub(crate) async fn sign_up(&self) -> anyhow::Result<Entrant> {
        let (token, player) = self.player().await?;
        Ok(Entrant { token, session: self.join(&player).await? })
    }

    /// Milliseconds from `create-client` to the lobby.
    async fn time(&self) -> anyhow::Result<f64> {
        let (token, player) = self.player().await?;
        let start = Instant::now();
        let mut entrant = Entrant { token, session: self.join(&player).await? };
        entrant.until_assigned().await?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Deletes the deployment and waits for the end of its containers.
    async fn clear(&self, backend: &Backend, deployment: DeploymentId) -> anyhow::Result<()> {
        let request = DeleteDeploymentRequest { tenant: self.studio.tenant.into(), id: deployment };
        ensure!(self.studio.developer.delete_deployment(&request).await?.deleted, "no such deployment");
        eventually("the containers are gone", async || backend.containers().is_empty()).await;
        Ok(())
    }

    /// Deletes everything.
    pub(crate) async fn close(self) {
        self.studio.close().await;
        let _still_used = Docker::new().command(&["rmi", "-f", &self.image]).stdout(Stdio::null()).status();
    }
}

impl Entrant {
    /// Fetches until the assignment to a lobby comes.
    pub(crate) async fn until_assigned(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let events = self.session.exchange(Duration::from_secs(20)).await?;
            if events.iter().any(|it| matches!(it, Event::Assigned { .. })) {
                return Ok(());
            }
            ensure!(start.elapsed() < TIMEOUT, "no lobby");
        }
    }
}

pub(crate) async fn measure(backend: &Backend, game: &Game) -> anyhow::Result<Vec<Measurement>> {
    // The first brings the image to the host.
    game.time().await?;
    game.clear(backend, game.deployment).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=FIRST {
        let image = game.image.clone();
        let bare = tokio::task::spawn_blocking(move || docker_run(&image)).await??;
        let deployment = game.studio.deploy(game.version).await;
        let lobby = game.time().await?;
        game.clear(backend, deployment).await?;
        eprintln!("first player, round {round}: {lobby:.0} ms; docker run: {bare:.0} ms");
        ours.push(lobby);
        theirs.push(bare);
    }
    game.studio.deploy(game.version).await;
    game.time().await?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 1..=TIMES {
        let mut later = Vec::with_capacity(LATER);
        for _ in 0..LATER {
            later.push(game.time().await?);
        }
        p50.push(median(later.clone()));
        p99.push(percentile(later, 99));
        eprintln!("next players, round {round}: {:.1?} ms, p99 {:.1?}", p50.last(), p99.last());
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(our, their)| our / their));
    let (ours, theirs) = (median(ours), median(theirs));
    let what = "docker run";
    Ok(vec![
        Measurement::new("first_lobby", "First player of a deployment to its lobby", "ms")
            .compared(ours, what, theirs)
            .ratio(ratio, Bar::AtMost(1.5)),
        Measurement::new("next_lobby_p50", "Player to a lobby that is up, median", "ms")
            .absolute(median(p50), Bar::AtMost(20.0)),
        Measurement::new("next_lobby_p99", "Player to a lobby that is up, p99 of 100", "ms")
            .absolute(median(p99), Bar::AtMost(20.0)),
    ])
}

/// Milliseconds from the start of Docker's client to the first request of the game in the
/// container. Blocks.
fn docker_run(image: &str) -> anyhow::Result<f64> {
    // The container comes from Docker's bridge.
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let url = format!("OMGSERVERS_SERVICE_URL=http://host.docker.internal:{}", listener.local_addr()?.port());
    let docker = Docker::new();
    let mut command = docker.command(&["run", "--detach", "--rm", "--network", "bridge"]);
    command.args(["--add-host", "host.docker.internal:host-gateway", "--env", &url]);
    for variable in ["RUNTIME_ID=5", "PASSWORD=it", "RUNTIME_QUALIFIER=LOBBY"] {
        command.args(["--env", &format!("OMGSERVERS_{variable}")]);
    }
    command.arg(image).stdin(Stdio::null()).stdout(Stdio::piped());
    let waiting = std::thread::spawn(move || -> std::io::Result<Instant> {
        let (mut connection, _) = listener.accept()?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        let mut request = [0; 4096];
        let mut filled = 0;
        loop {
            let count = connection.read(request.get_mut(filled..).unwrap_or_default())?;
            filled += count;
            if count == 0 || memchr::memmem::find(&request, b"\r\n\r\n").is_some() {
                return Ok(Instant::now());
            }
        }
    });
    let start = Instant::now();
    let output = command.spawn()?.wait_with_output()?;
    ensure!(output.status.success(), "docker run failed");
    let container = String::from_utf8(output.stdout)?.trim().to_owned();
    while !waiting.is_finished() && start.elapsed() < TIMEOUT {
        std::thread::sleep(Duration::from_millis(5));
    }
    run(&mut docker.command(&["rm", "--force", &container]));
    ensure!(waiting.is_finished(), "the container doesn't ask");
    let asked = waiting.join().ok().context("the listener")??;
    Ok((asked - start).as_secs_f64() * 1e3)
}
