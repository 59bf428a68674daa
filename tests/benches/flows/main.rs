//! Figures of whole flows, as ratios against baselines that are measured in the same run: `make
//! bench`.
//!
//! The server is the release binary as a child process; the baselines are child processes of this
//! program. The load comes from one thread of this process, which plays the game servers, too.
//! Rounds alternate, and the result is the median of the ratios of neighbouring rounds. Other load
//! of the machine hits both alike.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

mod baseline;
mod broadcast;
mod deploys;
mod dispatcher;
mod docs;
mod durable;
mod exchange;
mod fixture;
mod host;
mod load;
mod lobby;
mod machine;
mod match_latency;
mod matches;
mod memory;
mod metrics;
mod net;
mod process;
mod relay;
mod report;
mod rounds;
mod sign_up;
mod start;
mod tickets;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use omgservers_tests::{Backend, Studio};

use crate::{
    machine::Machine, memory::Kind, process::Baseline, relay::Delivery, report::Report, rounds::Rounds,
};

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
    /// Serve a simulated Docker host; used by this program itself.
    #[command(hide = true)]
    Host,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Flow {
    Exchange,
    SignUp,
    Lobby,
    Dispatcher,
    RelayHttp,
    RelayEphemeral,
    DurableBatches,
    Broadcast,
    Deploys,
    Tickets,
    MatchLatency,
    IdleSockets,
    MailboxMemory,
    Start,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Baseline { socket }) => return baseline::serve(socket).map(|()| ExitCode::SUCCESS),
        Some(Command::Host) => return host::serve().map(|()| ExitCode::SUCCESS),
        None => {}
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
    let mut backend = backend(&[]).await;
    let socket = backend.data_dir().join("pg/run");
    let mut report = Report::new(Machine::inspect(&socket).await?);
    {
        let baseline = process::Served::baseline(&socket)?;
        if wanted(Flow::SignUp) {
            report.add(sign_up::measure(&backend, &baseline, rounds).await?);
        }
        lobbies(&mut report, &backend, &baseline, rounds, &wanted).await?;
        messages(&mut report, &backend, &baseline, rounds, &wanted).await?;
    }
    crowds(&mut report, &wanted).await?;
    if wanted(Flow::Start) {
        report.add(start::measure(&mut backend).await?);
    }
    Ok(report)
}

/// Flows of the sample game in a container.
async fn lobbies(
    report: &mut Report,
    backend: &Backend,
    baseline: &Baseline,
    rounds: Rounds,
    wanted: &impl Fn(Flow) -> bool,
) -> anyhow::Result<()> {
    if !wanted(Flow::Exchange) && !wanted(Flow::Lobby) {
        return Ok(());
    }
    eprintln!("an image of the sample game is built and pushed");
    let game = lobby::Game::push(backend, Studio::open(backend).await).await;
    // First, while nobody else is in the lobby: it tells its players who leaves.
    if wanted(Flow::Exchange) {
        report.add(exchange::measure(backend, &game, baseline, rounds).await?);
    }
    if wanted(Flow::Lobby) {
        report.add(lobby::measure(backend, &game).await?);
    }
    game.close().await;
    Ok(())
}

/// Flows of messages, with game servers that this process plays.
async fn messages(
    report: &mut Report,
    backend: &Backend,
    baseline: &Baseline,
    rounds: Rounds,
    wanted: &impl Fn(Flow) -> bool,
) -> anyhow::Result<()> {
    if wanted(Flow::Dispatcher) {
        report.add(dispatcher::measure(backend, baseline, rounds).await?);
    }
    for (flow, delivery) in
        [(Flow::RelayHttp, Delivery::Durable), (Flow::RelayEphemeral, Delivery::Ephemeral)]
    {
        if wanted(flow) {
            report.add(relay::measure(backend, baseline, rounds, delivery).await?);
        }
    }
    if wanted(Flow::DurableBatches) {
        report.add(durable::measure(backend, rounds).await?);
    }
    if wanted(Flow::Broadcast) {
        report.add(broadcast::measure(backend, rounds).await?);
    }
    Ok(())
}

/// Flows of very many, each with a server of its own: what others have left would count.
async fn crowds(report: &mut Report, wanted: &impl Fn(Flow) -> bool) -> anyhow::Result<()> {
    if wanted(Flow::Tickets) || wanted(Flow::MatchLatency) {
        let host = host::Host::start()?;
        let backend = backend(&host.settings()).await;
        if wanted(Flow::MatchLatency) {
            report.add(match_latency::measure(&backend, &host).await?);
        }
        if wanted(Flow::Tickets) {
            report.add(tickets::measure(&backend, &host).await?);
        }
    }
    if wanted(Flow::Deploys) {
        let host = host::Host::start()?;
        report.add(deploys::measure(&backend(&host.settings()).await).await?);
    }
    if wanted(Flow::IdleSockets) {
        for kind in [Kind::Dispatcher, Kind::Stream] {
            report.add(memory::sockets(&backend(&[]).await, kind).await?);
        }
    }
    if wanted(Flow::MailboxMemory) {
        report.add(memory::mailboxes(&backend(&[]).await).await?);
    }
    Ok(())
}

/// A server with its production settings but for what disturbs measuring.
async fn backend(more: &[(&str, String)]) -> Backend {
    let workers = WORKERS.to_string();
    let mut settings = vec![
        ("OMGSERVERS__SERVER__WORKERS", workers.as_str()),
        ("OMGSERVERS__LIMITS__ENABLED", "false"),
        // Who isn't loaded at the moment is silent.
        ("OMGSERVERS__CLIENTS__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("OMGSERVERS__RUNTIMES__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("OMGSERVERS__LOBBIES__MIN_LIFETIME_SECONDS", "1"),
        ("OMGSERVERS__LOG__FILTER", "warn"),
    ];
    settings.extend(more.iter().map(|(key, value)| (*key, value.as_str())));
    Backend::with(&settings).await
}
