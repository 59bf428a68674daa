//! Arguments that several commands have.

use std::{path::PathBuf, str::FromStr};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

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
    /// File that keeps logins [default: omgservers/credentials.json in $XDG_CONFIG_HOME or
    /// ~/.config].
    #[arg(long, global = true, env = "OMGCTL_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
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

/// One of an enumeration's words.
pub(crate) fn word<T>(all: &[T], text: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Copy + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|it| text(*it))).try_map(|it| it.parse::<T>())
}
