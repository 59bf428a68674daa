//! The program `omgservers-torture`.
#![expect(clippy::print_stdout, reason = "this is what a command line is for")]

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use omgservers_torture::{
    history::{Judge, file},
    run::{Options, run},
    schedule::Database,
};
use tokio::signal::unix::{SignalKind, signal};

/// Kills the server, its database and its connections under load, and checks that nothing
/// acknowledged is lost.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a history that a run has written.
    Check {
        /// The file, JSON lines.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Which schedule of faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many players.
    #[arg(long, default_value_t = 200)]
    players: usize,
    /// How many entries wait when the server is killed at the end; 0 leaves that out.
    #[arg(long, default_value_t = 100_000)]
    entries: u64,
    /// Let the server start its own PostgreSQL, instead of one behind the proxy.
    #[arg(long)]
    embedded: bool,
    /// About how many milliseconds a player pauses between two exchanges.
    #[arg(long, default_value_t = 200)]
    pace: u64,
    /// Fail also when the server isn't ready 2 s after a kill.
    #[arg(long)]
    strict: bool,
    /// Where the history goes when something is wrong.
    #[arg(long, default_value = "/tmp")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Check { file }) => check(&file),
        None => torture(cli.run),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("omgservers-torture: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn check(path: &std::path::Path) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut judge = Judge::default();
    for record in file::read(path).with_context(|| path.display().to_string())? {
        judge.add(record?);
    }
    let violations = judge.verdict();
    for violation in &violations {
        println!("{violation}");
    }
    println!("{:?}: {} violations in {:.1?}", judge.counts(), violations.len(), begun.elapsed());
    Ok(violations.is_empty())
}

fn torture(arguments: Arguments) -> anyhow::Result<bool> {
    let options = Options {
        rounds: arguments.rounds,
        seed: arguments.seed,
        players: arguments.players,
        entries: arguments.entries,
        database: if arguments.embedded { Database::Embedded } else { Database::Proxied },
        pace: Duration::from_millis(arguments.pace),
        folder: arguments.folder,
    };
    println!("seed {}, {} rounds, {} players", arguments.seed, arguments.rounds, arguments.players);
    let print = |line: &str| {
        println!("{line}");
        if !std::io::stdout().is_terminal() {
            let _lost = std::io::stdout().flush();
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = run(options, print) => outcome,
            // What was begun is dropped, and server, PostgreSQL and containers go with it.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
        }
    })?;
    println!("{}", outcome.summary);
    for violation in &outcome.violations {
        println!("VIOLATION {violation}");
    }
    for finding in &outcome.findings {
        println!("WRONG {finding}");
    }
    for slow in &outcome.slow {
        println!("SLOW {slow}; the bar is 2 s");
    }
    if let Some(path) = &outcome.history {
        println!("the history is in {0}; check it again with: omgservers-torture check {0}", path.display());
        println!("the server's log is beside it");
    }
    let late = arguments.strict && !outcome.slow.is_empty();
    Ok(outcome.violations.is_empty() && outcome.findings.is_empty() && !late)
}
