//! How long a runtime takes, compared with the daemon alone.

use std::time::{Duration, Instant};

use omgservers_runtimes::{ContainerHost as _, Runtimes as _};

use crate::{
    installation::{Installation, Mode, local},
    service::Server,
};

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// The limit is lenient, for other tests run beside this one; the figures are printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_runtime_starts_nearly_as_fast_as_a_container() {
    let installation = Installation::new();
    let server = Server::new(&installation, local()).await;
    let host = installation.host();
    installation.image(Mode::Serve).await;
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for round in 0..7 {
        let mut spec = installation.spec(Mode::Serve, 900 + round).await;
        // Like the service's, with a network of its own to make.
        spec.tenant = (1000 + round).to_string().parse().unwrap();
        let begin = Instant::now();
        host.start(&spec).await.unwrap();
        bare.push(begin.elapsed());
        let _gone = host.remove(spec.attempt, Duration::from_secs(1)).await;

        let begin = Instant::now();
        let id = server.create(&installation, Mode::Serve).await.id;
        server.runs(id).await;
        whole.push(begin.elapsed());
        server.runtimes.stop(&[id]).await.unwrap();
        server.until(id, |it| it.is_none()).await;
    }
    let (bare, whole) = (median(bare), median(whole));
    eprintln!("a container: {bare:?}; a runtime from the wish to `running`: {whole:?}");
    assert!(whole < bare * 3, "{whole:?} against {bare:?}");
}
