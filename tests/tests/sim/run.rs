//! Runs seeds, and shows how one failed.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{rng::Rng, simulation::Simulation};

/// Lives of seeds at the same time.
const THREADS: usize = 2;
/// Real time that a seed may take: longer, and something waits for ever.
const MOST_TIME: Duration = Duration::from_secs(60);

/// A number in the environment.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs one seed and prints what happens.
pub(crate) fn replay(seed: u64) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    if let Err(report) = run(seed, true) {
        panic!("{report}");
    }
}

/// Runs seeds from `first` on. The first one that fails ends it, unless `OMG_SIM_KEEP_GOING` is
/// set.
pub(crate) fn many(first: u64, count: u64) {
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let reports = Mutex::new(Vec::new());
    let start = Instant::now();
    let keep_going = number("OMG_SIM_KEEP_GOING").is_some();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count {
                        return;
                    }
                    if let Err(report) = run(seed, false) {
                        eprintln!("{report}");
                        reports.lock().unwrap().push(seed);
                        stop.store(!keep_going, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let mut failed = reports.into_inner().unwrap();
    failed.sort_unstable();
    eprintln!("{} seeds in {:.1?}", next.load(Ordering::SeqCst).min(first + count) - first, start.elapsed());
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}

fn run(seed: u64, verbose: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut rng = Rng::new(seed, 0);
        let mut simulation = Simulation::new(&mut rng, verbose).await;
        let ended = tokio::time::timeout(MOST_TIME, Box::pin(live(seed, &mut rng, &mut simulation))).await;
        let verdict = ended.unwrap_or_else(|_| Err("something waits for ever".to_owned()));
        verdict.map_err(|wrong| {
            let trace: Vec<&str> = simulation.trace.iter().map(String::as_str).collect();
            format!(
                "seed {seed}, step {}: {wrong}\n{}\nreplay: OMG_SIM_SEED={seed} cargo test -p omgservers-tests --test sim -- --nocapture\n",
                simulation.step,
                trace.join("\n"),
            )
        })
    })
}

async fn live(seed: u64, rng: &mut Rng, simulation: &mut Simulation) -> Result<(), String> {
    let steps = 60 + u64::try_from(rng.below(90)).unwrap();
    for step in 1..=steps {
        simulation.step = step;
        simulation.happen(&mut Rng::new(seed, step)).await?;
    }
    simulation.come_to_rest().await?;
    // A system at rest stays so when it loses its memory.
    if rng.percent(30) {
        simulation.note("the backend is killed at rest");
        simulation.kill().await?;
        simulation.come_to_rest().await?;
    }
    Ok(())
}
