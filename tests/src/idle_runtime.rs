//! Game servers whose part the test plays.

use std::{collections::BTreeMap, process::Command};

use omgservers_api::{RuntimeId, RuntimeQualifier};
use omgservers_client::{
    Client, Runtime,
    runtime::{PASSWORD, RUNTIME_ID, RUNTIME_QUALIFIER},
};

/// A game server whose part the test plays.
#[derive(Debug, Clone)]
pub struct IdleRuntime {
    /// The container.
    pub container: String,
    /// The runtime.
    pub id: RuntimeId,
    /// Its password.
    pub password: String,
    /// Lobby or match.
    pub qualifier: RuntimeQualifier,
}

impl IdleRuntime {
    /// The runtime's side of the SDK.
    pub fn runtime(&self, client: Client) -> Runtime {
        Runtime::new(client, self.id, &self.password, self.qualifier)
    }
}

/// Reads a container's environment. `None` if it went in the meantime.
pub(crate) fn inspect(container: String) -> Option<IdleRuntime> {
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let output = Command::new("docker").args(["inspect", "--format", format, &container]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|it| it.split_once('=')).collect();
    Some(IdleRuntime {
        id: variables.get(RUNTIME_ID)?.parse().unwrap(),
        password: (*variables.get(PASSWORD)?).to_owned(),
        qualifier: variables.get(RUNTIME_QUALIFIER)?.parse().unwrap(),
        container,
    })
}
