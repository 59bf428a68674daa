//! Figures of whole flows, as ratios against baselines that are measured in the same run: `make bench`.
//!
//! The server is the release binary as a child process, the baselines are child processes of this program, and the
//! load comes from one thread of this process. Rounds alternate, and what counts is the median of the ratios of
//! neighbouring rounds: a machine that is busy with something else is so for both.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

mod baseline;
mod dispatcher;
mod docs;
mod exchange;
mod load;
mod lobby;
mod machine;
mod metrics;
mod net;
mod process;
mod relay;
mod report;
mod rounds;
mod sign_up;
mod stage;
mod start;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use omgservers_tests::{Backend, Studio};

use crate::{machine::Machine, relay::Delivery, report::Report, rounds::Rounds};

/// What users of the server get, so that the baselines differ in nothing but the work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that serve HTTP, in the server and in the baselines.
const WORKERS: usize = 2;

/// Figures of whole flows, as ratios against baselines.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Succeed also when a bar is missed.
    #[arg(long)]
    report_only: bool,
    /// Measure only these, separated by commas; docs/benchmarks.md stays as it is.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Flow>,
    /// Rounds of each kind of load.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Write the figures as JSON here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What `cargo bench` passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the baselines; used by this program itself.
    #[command(hide = true)]
    Baseline {
        /// The folder of PostgreSQL's socket.
        socket: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Flow {
    Exchange,
    SignUp,
    Lobby,
    Dispatcher,
    RelayHttp,
    RelayEphemeral,
    Start,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(Command::Baseline { socket }) = &cli.command {
        baseline::serve(socket)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(measure(&cli))?;
    print!("\n{}\n{}\n", report.markdown(), report.json());
    if let Some(file) = &cli.json {
        std::fs::write(file, report.json()).with_context(|| file.display().to_string())?;
    }
    if cli.only.is_empty() {
        docs::write(&report)?;
    }
    Ok(if report.is_met() || cli.report_only { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(cli: &Cli) -> anyhow::Result<Report> {
    let wanted = |it: Flow| cli.only.is_empty() || cli.only.contains(&it);
    let rounds = Rounds { count: cli.rounds.max(1), time: Duration::from_secs(cli.seconds.max(1)) };
    let server = omgservers_tests::binary("omgservers-server", "omgservers");
    anyhow::ensure!(server.exists(), "build the server first: cargo build --release --bin omgservers");
    let mut backend = Backend::with(&[
        ("OMGSERVERS__SERVER__WORKERS", &WORKERS.to_string()),
        ("OMGSERVERS__LIMITS__ENABLED", "false"),
        // Who isn't loaded at the moment is silent.
        ("OMGSERVERS__CLIENTS__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("OMGSERVERS__RUNTIMES__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("OMGSERVERS__LOBBIES__MIN_LIFETIME_SECONDS", "1"),
        ("OMGSERVERS__LOG__FILTER", "warn"),
    ])
    .await;
    let socket = backend.data_dir().join("pg/run");
    let mut report = Report::new(Machine::look(&socket).await?);
    {
        let baseline = process::Baseline::start(&socket)?;
        if wanted(Flow::SignUp) {
            report.add(sign_up::measure(&backend, &baseline, rounds).await?);
        }
        if wanted(Flow::Dispatcher) {
            report.add(dispatcher::measure(&backend, &baseline, rounds).await?);
        }
        for (flow, delivery) in
            [(Flow::RelayHttp, Delivery::Durable), (Flow::RelayEphemeral, Delivery::Ephemeral)]
        {
            if wanted(flow) {
                report.add(relay::measure(&backend, &baseline, rounds, delivery).await?);
            }
        }
        let studio = Studio::open(&backend).await;
        if wanted(Flow::Exchange) || wanted(Flow::Lobby) {
            eprintln!("an image of the sample game is built and pushed");
            let game = lobby::Game::push(&backend, studio).await;
            // First, while nobody else is in the lobby: it tells its players who leaves.
            if wanted(Flow::Exchange) {
                report.add(exchange::measure(&backend, &game, &baseline, rounds).await?);
            }
            if wanted(Flow::Lobby) {
                report.add(lobby::measure(&backend, &game).await?);
            }
            game.close().await;
        }
    }
    if wanted(Flow::Start) {
        report.add(start::measure(&mut backend).await?);
    }
    Ok(report)
}
