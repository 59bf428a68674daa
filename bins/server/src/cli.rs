//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::replay::Replay;

/// A backend for authoritative game servers.
#[derive(Debug, Parser)]
#[command(name = "omgservers", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server until SIGTERM or ^C; a second one stops it at once.
    Serve(SourceArgs),
    /// Bring the database up to date, and do nothing else.
    Migrate(SourceArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after the keys that tokens are signed with.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at how players are matched.
    #[command(subcommand)]
    Matchmaking(MatchmakingCommand),
    /// Print the OpenAPI document of the HTTP API.
    Openapi,
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print what is in effect, secrets as ***.
    Print(SourceArgs),
    /// Say everything that is wrong, and fail if anything is.
    Check(SourceArgs),
    /// Print a file with every setting, its meaning and its default.
    Example,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Add a key that signs from the next start on. Tokens that were signed with older keys stay
    /// good.
    Rotate(SourceArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MatchmakingCommand {
    /// Run a recorded log of tickets against a rule set, and print waiting times and differences.
    Replay(Replay),
}

/// Where the configuration comes from. Variables OMGSERVERS__SECTION__KEY come on top of the file.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// A TOML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to keep everything that must survive.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
