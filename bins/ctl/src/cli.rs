//! The command line's shape.

use clap::{Args, Parser, Subcommand};
use omgservers_client::api::Role;

use crate::{
    args::{Options, TokenArgs, word},
    bench::BenchArgs,
    commands::{Admin, Developer, EndpointCommand, Player, Support},
};

/// The command line of OMGSERVERS.
///
/// Sign in once per role with `omgctl login`. The commands of that role use the token, which is
/// kept in a file that only you can read.
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
    Admin(EndpointCommand<Admin>),
    /// Make tenants, projects and developers, and give permissions.
    #[command(subcommand)]
    Support(EndpointCommand<Support>),
    /// Make versions and deploy them.
    #[command(subcommand)]
    Developer(EndpointCommand<Developer>),
    /// Try what players do.
    #[command(subcommand)]
    Player(EndpointCommand<Player>),
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
