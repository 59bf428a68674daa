//! The empty interchange of players: what a backend does all day.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::ensure;
use omgservers_tests::Backend;

use crate::{
    baseline::EXCHANGE,
    load::{self, Script, request},
    lobby::{Entrant, Game},
    process::Baseline,
    report::{Bar, Measurement},
    rounds::{Rounds, Side},
};

const CONNECTIONS: usize = 64;

struct Exchange(Arc<[u8]>);

impl Script for Exchange {
    fn request(&self) -> &[u8] {
        &self.0
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        ensure!(body == br#"{"incoming_messages":[]}"#, "not empty: {}", String::from_utf8_lossy(body));
        Ok(true)
    }
}

fn exchange(address: SocketAddr, entrant: &Entrant) -> Arc<[u8]> {
    let client = entrant.session.client_id();
    let body = format!(r#"{{"client_id":"{client}","outgoing_messages":[],"consumed_messages":[]}}"#);
    request(address, EXCHANGE, Some(&entrant.token), &body).into()
}

pub(crate) async fn measure(
    backend: &Backend,
    game: &Game,
    baseline: &Baseline,
    rounds: Rounds,
) -> anyhow::Result<Vec<Measurement>> {
    let mut entrants = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut entrant = game.sign_up().await?;
        entrant.until_assigned().await?;
        entrants.push(entrant);
    }
    drain(&mut entrants).await?;
    let address = backend.address();
    let ours: Vec<_> = entrants.iter().map(|it| exchange(address, it)).collect();
    let theirs: Vec<_> = entrants.iter().map(|it| exchange(baseline.address, it)).collect();
    let load = |address, all: Vec<Arc<[u8]>>| {
        move |time| load::run(address, all.iter().map(|it| Exchange(Arc::clone(it))).collect(), time)
    };
    let ours = Side { process: backend.process(), load: load(address, ours) };
    let theirs = Side { process: baseline.id(), load: load(baseline.address, theirs) };
    let compared =
        tokio::task::spawn_blocking(move || rounds.compare("empty interchange", ours, theirs)).await??;
    let what = "bare actix-web";
    Ok(vec![
        Measurement::new("exchange_throughput", "Empty interchange, 64 connections", "per s")
            .compared(compared.ours.per_second, what, compared.baseline.per_second)
            .ratio(compared.throughput, Bar::AtLeast(0.6)),
        Measurement::new("exchange_p99", "Empty interchange, 64 connections, p99", "µs")
            .compared(compared.ours.p99, what, compared.baseline.p99)
            .ratio(compared.p99, Bar::AtMost(3.0)),
        Measurement::new("exchange_cpu", "Empty interchange, time of a core in the server", "µs")
            .compared(compared.ours.cpu, what, compared.baseline.cpu)
            .ratio(compared.ours.cpu / compared.baseline.cpu, Bar::None),
    ])
}

/// Fetches everything until nothing comes any more.
async fn drain(entrants: &mut [Entrant]) -> anyhow::Result<()> {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut count = 0;
        for entrant in &mut *entrants {
            count += entrant.session.exchange(Duration::ZERO).await?.len();
        }
        if count == 0 {
            return Ok(());
        }
    }
    anyhow::bail!("the lobby doesn't fall silent")
}
