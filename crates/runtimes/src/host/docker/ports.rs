//! Ports of containers on free ports of the host, in the words of Docker.

use std::{collections::HashMap, net::IpAddr};

use bollard::models::{PortBinding, PortMap, PortSummary, PortSummaryTypeEnum};
use omgservers_api::config::{PortConfig, PortProtocol};

use crate::host::PublishedPort;

/// The ports that a container listens on: `7777/udp`.
pub(super) fn exposed(ports: &[PortConfig]) -> Vec<String> {
    ports.iter().map(|it| format!("{}/{}", it.port, word(it.protocol))).collect()
}

/// Each on a free port of the host.
pub(super) fn bindings(ports: &[PortConfig], address: IpAddr) -> PortMap {
    let free = || PortBinding { host_ip: Some(address.to_string()), host_port: Some("0".into()) };
    exposed(ports).into_iter().map(|it| (it, Some(vec![free()]))).collect()
}

/// Where an inspected container has its ports.
pub(super) fn inspected(ports: &HashMap<String, Option<Vec<PortBinding>>>) -> Vec<PublishedPort> {
    let published = |(port, bindings): (&String, &Option<Vec<PortBinding>>)| {
        let (container, protocol) = port.split_once('/')?;
        let host = bindings.as_ref()?.first()?.host_port.as_ref()?;
        let protocol = PROTOCOLS.into_iter().find(|it| word(*it) == protocol)?;
        Some(PublishedPort { protocol, container: container.parse().ok()?, host: host.parse().ok()? })
    };
    ports.iter().filter_map(published).collect()
}

/// Where a listed container has its ports.
pub(super) fn listed(ports: &[PortSummary]) -> Vec<PublishedPort> {
    let published = |port: &PortSummary| {
        let protocol = match port.typ? {
            PortSummaryTypeEnum::TCP => PortProtocol::Tcp,
            PortSummaryTypeEnum::UDP => PortProtocol::Udp,
            _ => return None,
        };
        Some(PublishedPort { protocol, container: port.private_port, host: port.public_port? })
    };
    ports.iter().filter_map(published).collect()
}

const PROTOCOLS: [PortProtocol; 2] = [PortProtocol::Tcp, PortProtocol::Udp];

fn word(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    }
}
