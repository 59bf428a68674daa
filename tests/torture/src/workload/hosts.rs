//! Finds the containers of game servers, and plays those that are new.

use std::{
    collections::{BTreeMap, HashSet},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use omgservers_api::RuntimeId;
use omgservers_client::runtime::{PASSWORD, RUNTIME_ID, RUNTIME_QUALIFIER};
use tokio::{process::Command, task::JoinSet};

use super::{Mode, Workload, bodies::number, card::Seat, game};
use crate::rng::Rng;

/// Looks for containers until it is over, and then waits for those who play.
pub(crate) async fn watch(workload: Arc<Workload>, installation: String) {
    let mut known: HashSet<String> = HashSet::new();
    let mut games = JoinSet::new();
    while workload.mode() != Mode::Over {
        for container in running(&installation).await {
            if known.contains(&container) {
                continue;
            }
            let Some(seat) = read(&container).await.map(Arc::new) else { continue };
            known.insert(container);
            if workload.take_seat(&seat).is_some() {
                let rng = Rng::new(workload.seed ^ seat.runtime);
                games.spawn(game::play(Arc::clone(&workload), seat, rng));
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    games.join_all().await;
}

async fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn running(installation: &str) -> Vec<String> {
    let filter = format!("label=omgservers.installation={installation}");
    let listed = docker(&["ps", "-q", "--filter", &filter]).await.unwrap_or_default();
    listed.lines().map(str::to_owned).collect()
}

/// Who a container is, by its environment; `None` when it went in the meantime.
async fn read(container: &str) -> Option<Seat> {
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let text = docker(&["inspect", "--format", format, container]).await?;
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|it| it.split_once('=')).collect();
    let id: RuntimeId = variables.get(RUNTIME_ID)?.parse().ok()?;
    let password = (*variables.get(PASSWORD)?).to_owned();
    let is_match = *variables.get(RUNTIME_QUALIFIER)? == "MATCH";
    Some(Seat::new(id, number(id), password, container.to_owned(), is_match))
}

/// Pauses a container, or lets it go on. Whether that worked.
pub(crate) async fn pause(container: &str, paused: bool) -> bool {
    docker(&[if paused { "pause" } else { "unpause" }, container]).await.is_some()
}
