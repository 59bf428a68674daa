//! The program `omgservers`.
#![expect(clippy::print_stdout, reason = "this is what a command line is for")]

mod cli;
mod replay;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::TcpListener,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser as _;
use omgservers_auth::Keys;
use omgservers_core::Db;
use omgservers_server::{
    Config, Process, Running, SCHEMAS, Server, config, data_dir::DataDir, database::Database, open_files,
    systemd, telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Cli, Command, ConfigCommand, KeysCommand, MatchmakingCommand, SourceArgs};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a server whose database another one has taken. Who restarts servers must not
/// restart this one: the two would take it from each other for ever.
const TAKEN: u8 = 3;

#[derive(Debug, thiserror::Error)]
#[error("another server has taken this database; only one may use it at a time")]
struct Taken;

fn main() -> ExitCode {
    // The buffers of quiet connections are hardly touched: in huge pages all of them would be in
    // memory, half as much again for each connection. The supervised PostgreSQL inherits it. A
    // kernel that can't do it uses the memory.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
    // While there is one thread: it changes the environment.
    let socket = systemd::listener();
    match run(Cli::parse().command, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("omgservers: {error:#}");
            if error.is::<Taken>() { ExitCode::from(TAKEN) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command, socket: anyhow::Result<Option<TcpListener>>) -> anyhow::Result<()> {
    match command {
        Command::Serve(sources) => {
            let (config, traces) = prepare(&sources)?;
            let served = runtime()?.block_on(serve(config, socket?));
            traces.stop();
            served
        }
        Command::Migrate(sources) => {
            let (config, _traces) = prepare(&sources)?;
            runtime()?.block_on(migrate(&config))
        }
        Command::Config(ConfigCommand::Print(sources)) => {
            print(&read(&sources)?.to_toml()?)?;
            Ok(())
        }
        Command::Config(ConfigCommand::Check(sources)) => {
            read(&sources)?;
            println!("the configuration is good");
            Ok(())
        }
        Command::Config(ConfigCommand::Example) => {
            print(&config::example())?;
            Ok(())
        }
        Command::Keys(KeysCommand::Rotate(sources)) => {
            Keys::rotate(&read(&sources)?.data_dir.join("keys"))?;
            println!("a key was added; it signs from the next start on");
            Ok(())
        }
        Command::Matchmaking(MatchmakingCommand::Replay(options)) => {
            print(&replay::run(&options)?)?;
            Ok(())
        }
        Command::Openapi => {
            print(&omgservers_http::openapi())?;
            Ok(())
        }
        Command::Version => {
            println!("omgservers {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

fn read(sources: &SourceArgs) -> anyhow::Result<Config> {
    let sources = config::Sources {
        file: sources.config.clone(),
        // What isn't UTF-8 can't be a setting.
        variables: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        data_dir: sources.data_dir.clone(),
    };
    Ok(config::load(&sources)?)
}

/// Reads the configuration and makes the process what a server needs.
fn prepare(sources: &SourceArgs) -> anyhow::Result<(Config, telemetry::Exporter)> {
    let config = read(sources)?;
    let traces = telemetry::open(&config.log, &config.traces)?;
    // For Docker hosts and databases with TLS. A second one is refused, and there is none.
    let _first = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok((config, traces))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn serve(config: Config, socket: Option<TcpListener>) -> anyhow::Result<()> {
    // From here on a signal is kept until it is asked for: one that comes in the middle of a start
    // counts.
    let mut signals = Signals::new()?;
    open_files::raise(config.server.max_connections);
    let process = Process { socket, metrics: Some(telemetry::metrics()?) };
    let running = tokio::select! {
        started = Server::start(config, process) => started?,
        name = signals.next() => anyhow::bail!("{name} during the start"),
    };
    welcome(&running);
    systemd::ready(&format!("listening on {}", running.addr));
    let watchdog = tokio_util::sync::CancellationToken::new();
    tokio::spawn(systemd::watchdog(watchdog.clone()));
    let lost = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            false
        }
        () = running.lost() => {
            tracing::error!("another server has taken this database: stopping");
            true
        }
    };
    systemd::stopping();
    tokio::select! {
        // What can't be written any more is the other one's.
        stopped = running.stop() => if !lost { stopped? },
        name = signals.next() => anyhow::bail!("{name} while stopping: stopped at once"),
    }
    watchdog.cancel();
    tracing::info!("stopped");
    anyhow::ensure!(!lost, Taken);
    Ok(())
}

/// Says where everything is. Passwords only to a person: a log keeps them for too long.
fn welcome(running: &Running) {
    tracing::info!(addr = %running.addr, public_url = %running.addresses.public_url, "the server runs");
    if running.new_users.is_empty() {
        return;
    }
    let file = running.credentials_file.display();
    tracing::info!(%file, "this is the first start: users were made, their passwords are in the file");
    if io::stdout().is_terminal() {
        println!("\nUsers of this installation (also in {file}):");
        for user in &running.new_users {
            println!("  {:8} {}", user.alias, user.password.expose());
        }
        println!();
    }
}

/// Prints a text. A reader that closes early, as `head` does, ends the output and is no error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let data = DataDir::open(&config.data_dir)?;
    let database = Database::open(config, &data).await?;
    let migrated = Db::migrate(database.url(), SCHEMAS).await.context("migrations");
    database.close(Duration::from_secs(30)).await;
    for name in migrated? {
        println!("{name}");
    }
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
