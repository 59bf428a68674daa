//! The whole way on one machine: from an empty directory to players who are matched and play.

mod backend;
mod docker;
mod duel;
mod guest;
mod next_steps;
mod play;
mod sample;
mod steps;
mod studio;

use std::path::PathBuf;

use clap::Parser;

use self::{backend::DemoBackend, docker::Docker, sample::Sample, steps::Steps, studio::Studio};

/// Starts a backend unless one runs, pushes and deploys the sample game server, and lets four
/// players meet, be matched and play. The backend is left running.
#[derive(Debug, Parser)]
#[command(name = "omgservers-demo", version)]
pub struct Demo {
    /// The backend's program.
    #[arg(long, value_name = "PATH", default_value = "target/release/omgservers")]
    pub(crate) server_binary: PathBuf,
    /// Where the backend keeps everything.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) data_dir: PathBuf,
    /// The backend's port.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// The sample game server, statically linked. Without it cargo builds it here.
    #[arg(long, value_name = "PATH")]
    pub(crate) sample: Option<PathBuf>,
}

/// Walks the way and tells each step with the time that it took.
pub async fn demonstrate(demo: &Demo) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let steps = &mut steps;
    let docker = steps.step("Docker answers", Docker::find()).await?;
    let sample =
        steps.step("The sample game server is built", Sample::prepare(demo.sample.as_deref())).await?;
    let backend = steps.step("The backend answers", DemoBackend::ensure(demo)).await?;
    steps.note(&backend.how())?;
    let credentials = backend.credentials()?;

    let studio = Studio::found(&backend.client, &credentials, steps).await?;
    let image = format!(
        "localhost:{}/omgservers/{}/{}/universal:{}",
        demo.port, studio.tenant, studio.project, studio.version
    );
    steps.step("An image FROM scratch is made of it", docker.import(&sample, &image)).await?;
    let user = studio.developer_user.to_string();
    let registry = format!("localhost:{}", demo.port);
    steps.step("docker login", docker.login(&registry, &user, &studio.developer_password)).await?;
    steps.step("docker push", docker.push(&image)).await?;
    steps.note(&image)?;
    let deployment = studio.deploy(steps).await?;

    let played = Box::pin(play::play(&backend.client, &studio, steps)).await;
    if played.is_err() {
        // The reason is most often in a container. What keeps us from looking there doesn't hide
        // it.
        if let Err(error) = studio.note_failures(deployment, steps).await {
            steps.note(&format!("the deployment can't be looked at: {error:#}"))?;
        }
        steps.note(&format!("see also {}", backend.log.display()))?;
    }
    played?;
    next_steps::show(demo, &backend, &studio, deployment, steps)
}
