//! Ports of a container that players connect to directly.

use serde::{Deserialize, Serialize};

use super::unique;
use crate::{
    Problem,
    validate::{invalid, text},
};

/// Most ports of a runtime.
pub(super) const MOST_PORTS: usize = 16;

/// A port of the container; the host publishes it on a free port of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PortConfig {
    /// Its name, unique in the list: players find the published port by it.
    pub name: String,
    /// TCP or UDP.
    pub protocol: PortProtocol,
    /// The port that the game server listens on, in the container.
    pub port: u16,
}

/// How a port is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

pub(super) fn check(field: &str, ports: &[PortConfig]) -> Result<(), Problem> {
    if ports.len() > MOST_PORTS {
        return Err(invalid(field, &format!("must have at most {MOST_PORTS} entries")));
    }
    unique(field, ports.iter().map(|it| it.name.as_str()))?;
    for (index, port) in ports.iter().enumerate() {
        text(&format!("{field}[{index}].name"), &port.name, 64)?;
        if port.port == 0 {
            return Err(invalid(&format!("{field}[{index}].port"), "must be 1 to 65535"));
        }
        if ports.iter().take(index).any(|other| (other.protocol, other.port) == (port.protocol, port.port)) {
            return Err(invalid(&format!("{field}[{index}].port"), "is there twice"));
        }
    }
    Ok(())
}
