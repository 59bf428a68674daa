//! Ports that players connect to directly.

use std::{net::Ipv4Addr, time::Duration};

use omgservers_api::{
    config::{PortConfig, PortProtocol},
    ids::Id as _,
};
use omgservers_runtimes::{
    ContainerHost as _, DockerConfig, DockerHost,
    host::{ContainerSpec, PublishedPort},
};
use tokio::{net::UdpSocket, time::timeout};

use crate::installation::{Installation, Mode, local};

const TIMEOUT: Duration = Duration::from_secs(5);

fn udp(name: &str, port: u16) -> PortConfig {
    PortConfig { name: name.into(), protocol: PortProtocol::Udp, port }
}

/// On the loopback only.
fn host(installation: &Installation) -> DockerHost {
    let config = DockerConfig { publish_on: Ipv4Addr::LOCALHOST.into(), ..installation.config() };
    DockerHost::connect(config.into(), &local()).unwrap()
}

async fn spec(installation: &Installation, runtime: i64) -> ContainerSpec {
    let mut spec = installation.spec(Mode::Echo, runtime).await;
    spec.ports = vec![udp("game", 7777), udp("voice", 7778)];
    spec
}

/// What comes back for a datagram.
async fn echo(port: u16) -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let mut buffer = [0; 100];
    // A datagram may be lost while the game server opens its sockets.
    for _ in 0..10 {
        socket.send(b"hello").await.unwrap();
        if let Ok(Ok(length)) = timeout(TIMEOUT / 10, socket.recv(&mut buffer)).await {
            return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    None
}

fn at(ports: &[PublishedPort], container: u16) -> u16 {
    ports.iter().find(|it| it.container == container).unwrap().host
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn datagrams_reach_the_published_ports_of_each_container() {
    let installation = Installation::new();
    let host = host(&installation);
    let (one, two) = (spec(&installation, 61).await, spec(&installation, 62).await);
    let ports = [host.start(&one).await.unwrap(), host.start(&two).await.unwrap()];
    installation.words(one.attempt).await;
    installation.words(two.attempt).await;
    for ports in &ports {
        assert_eq!(ports.len(), 2, "{ports:?}");
        assert_eq!(echo(at(ports, 7777)).await.as_deref(), Some("one hello"));
        assert_eq!(echo(at(ports, 7778)).await.as_deref(), Some("two hello"));
    }
    assert_ne!(at(&ports[0], 7777), at(&ports[1], 7777));
    // The list tells the same.
    let sorted = |mut ports: Vec<PublishedPort>| {
        ports.sort_by_key(|it| it.container);
        ports
    };
    for container in host.list().await.unwrap() {
        let started = if container.attempt == one.attempt { &ports[0] } else { &ports[1] };
        assert_eq!(sorted(container.ports), sorted(started.clone()));
    }
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_container_without_ports_publishes_nothing_of_its_image() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Echo, 63).await;
    assert_eq!(host.start(&spec).await.unwrap(), []);
    assert_eq!(host.list().await.unwrap()[0].ports, []);
    let settings = installation.inspect(spec.attempt).await.unwrap().network_settings.unwrap();
    assert!(settings.ports.unwrap_or_default().is_empty());
    assert_eq!(spec.attempt.runtime.get(), 63);
}
