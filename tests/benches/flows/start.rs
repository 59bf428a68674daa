//! How long a start takes, and what the server needs when it has nothing to do.

use std::time::{Duration, Instant};

use omgservers_tests::Backend;

use crate::{
    process::megabytes,
    report::{Bar, Measurement},
    rounds::median,
};

const STARTS: usize = 5;
/// After this much time nothing of the start is left to do.
const IDLE: Duration = Duration::from_secs(3);

pub(crate) async fn measure(backend: &mut Backend) -> anyhow::Result<Vec<Measurement>> {
    let loaded = megabytes(backend.process(), "status", "VmRSS")?;
    let (mut times, mut rss, mut pss) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=STARTS {
        backend.stop();
        let start = Instant::now();
        backend.launch().await;
        times.push(start.elapsed().as_secs_f64());
        tokio::time::sleep(IDLE).await;
        rss.push(megabytes(backend.process(), "status", "VmRSS")?);
        pss.push(megabytes(backend.process(), "smaps_rollup", "Pss")?);
        eprintln!("start {round}: {:.2?} s, {:.1?} MiB", times.last(), rss.last());
    }
    Ok(vec![
        Measurement::new("start", "Start over existing data, with PostgreSQL, to /readyz", "s")
            .absolute(median(times), Bar::AtMost(2.0)),
        Measurement::new("idle_memory", "Memory (RSS) of the server when idle", "MiB")
            .absolute(median(rss), Bar::AtMost(60.0)),
        Measurement::new("idle_memory_pss", "The same (PSS)", "MiB").absolute(median(pss), Bar::None),
        Measurement::new("loaded_memory", "Memory (RSS) after all other flows", "MiB")
            .absolute(loaded, Bar::None),
    ])
}
