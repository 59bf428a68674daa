//! The configuration: defaults in the code, then a TOML file, then `OMGSERVERS__SECTION__KEY` in
//! the environment. Nothing else in the workspace reads files or variables for it.

mod defaults;
mod example;
mod load;
mod model;
mod secret;
mod validate;

use std::fmt;

pub use example::example;
pub use load::{Sources, load};
pub use model::{
    BootstrapConfig, ClientsConfig, Config, DatabaseConfig, HostConfig, HostState, LimitsConfig,
    LobbiesConfig, LogConfig, LogFormat, MatchesConfig, MessagingConfig, PoolConfig, RegistryConfig,
    RegistryMode, RuntimesConfig, ServerConfig, Strategy, TokensConfig, TracesConfig,
};
pub use secret::Secret;

/// Something that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Which setting, `section.key`; empty if it is the file as a whole.
    pub key: String,
    /// The file or the variable that it comes from.
    pub origin: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)
        } else {
            write!(f, "{}: {} (from {})", self.key, self.message, self.origin)
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem(s):\n{}", .0.len(), lines(.0))]
pub struct Issues(pub Vec<Issue>);

fn lines(issues: &[Issue]) -> String {
    issues.iter().map(|it| format!("  {it}")).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// The effective configuration as TOML, secrets as `***`.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
