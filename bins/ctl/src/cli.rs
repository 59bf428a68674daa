//! The command line's shape.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use omgservers_client::api::Role;

use crate::{
    bench::BenchArgs,
    commands::{AdminCommand, DeveloperCommand, PlayerCommand, SupportCommand},
    values::word,
};

/// The command line of OMGSERVERS.
///
/// Sign in once per role with `omgctl login`; the token is kept in a file that only you can read, and the commands
/// of that role use it.
#[derive(Debug, Parser)]
#[command(name = "omgctl", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Whether errors are for programs too.
    pub fn json(&self) -> bool {
        self.options.json
    }
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print what the backend answers, as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the backend, e.g. http://localhost:8080, instead of the one of the login.
    #[arg(long, global = true, env = "OMGCTL_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Token, instead of the one of the login.
    #[arg(long, global = true, env = "OMGCTL_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Which logins: one installation each.
    #[arg(long, global = true, env = "OMGCTL_PROFILE", hide_env_values = true, default_value = "default")]
    pub(crate) profile: String,
    /// File that keeps logins [default: omgservers/credentials.json in $XDG_CONFIG_HOME or ~/.config].
    #[arg(long, global = true, env = "OMGCTL_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and keep the token.
    Login(LoginArgs),
    /// Forget the token of a role.
    Logout {
        /// Which.
        #[arg(long, value_parser = word(&ROLES, Role::as_str))]
        role: Role,
    },
    /// Look after the installation.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Make tenants, projects and developers, and give permissions.
    #[command(subcommand)]
    Support(SupportCommand),
    /// Make versions and deploy them.
    #[command(subcommand)]
    Developer(DeveloperCommand),
    /// Try what players do.
    #[command(subcommand)]
    Player(PlayerCommand),
    Bench(BenchArgs),
}

/// The roles that one signs in as.
const ROLES: [Role; 4] = [Role::Admin, Role::Support, Role::Developer, Role::Player];

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// As whom.
    #[arg(long, value_parser = word(&ROLES, Role::as_str))]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) who: TokenArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user, by id or alias.
    #[arg(long)]
    pub(crate) user: String,
    /// Read the password from the standard input instead of asking for it.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}
