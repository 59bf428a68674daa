//! Ports that players connect to directly.

use omgservers_api::{
    config::{PortConfig, PortProtocol},
    interchange::DirectPort,
};
use omgservers_runtimes::{
    HostConfig, NewRuntime, Published, RuntimeState, Runtimes as _,
    host::fake::{HostCall, HostFault},
};

use crate::fixture::{Fixture, HOST, KEY, host_config};

fn ports() -> Vec<PortConfig> {
    let port = |name: &str, protocol, port| PortConfig { name: name.into(), protocol, port };
    vec![port("game", PortProtocol::Udp, 7777), port("voice", PortProtocol::Tcp, 7777)]
}

impl Fixture {
    fn with_ports(&self) -> NewRuntime {
        NewRuntime { ports: ports(), ..self.lobby() }
    }

    async fn published(&self, new: &NewRuntime) -> Option<Published> {
        match self.state(new.id).await {
            Some(RuntimeState::Running { published, .. }) => published.map(|it| (*it).clone()),
            other => panic!("{other:?}"),
        }
    }
}

fn direct(ports: [u16; 2]) -> Vec<DirectPort> {
    vec![
        DirectPort { name: "game".into(), protocol: PortProtocol::Udp, port: ports[0] },
        DirectPort { name: "voice".into(), protocol: PortProtocol::Tcp, port: ports[1] },
    ]
}

#[tokio::test]
async fn a_runtime_with_ports_publishes_its_address_and_can_check_tokens() {
    let mut fixture = Fixture::new().await;
    let (new, plain) = (fixture.with_ports(), fixture.lobby());
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    fixture.runtimes.create(std::slice::from_ref(&plain)).await.unwrap();
    fixture.run().await;
    let expected =
        Published { address: "one".into(), ports: direct([30_000, 30_001]), connect_key: KEY.into() };
    assert_eq!(fixture.published(&new).await, Some(expected));
    assert_eq!(fixture.published(&plain).await, None);
    let env = fixture.host.env(new.id).unwrap();
    assert_eq!((env.len(), env["OMGSERVERS_CONNECT_KEY"].as_str()), (5, "the public key"));
    assert_eq!(fixture.host.env(plain.id).unwrap().len(), 4, "the others get nothing new");

    let details = fixture.runtimes.of_deployment(fixture.deployment).await.unwrap();
    let of = |id| details.iter().find(|it| it.id == id).unwrap();
    assert_eq!((of(new.id).address.as_deref(), &of(new.id).ports), (Some("one"), &direct([30_000, 30_001])));
    assert_eq!((of(plain.id).address.as_deref(), of(plain.id).ports.len()), (None, 0));
}

#[tokio::test]
async fn the_address_is_what_the_operator_sets() {
    let mut fixture = Fixture::new().await;
    let new = fixture.with_ports();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    let public = HostConfig { public_address: Some("games.example.com".into()), ..host_config(HOST) };
    fixture.runtimes.ensure_pool(&[public]).await.unwrap();
    assert_eq!(fixture.published(&new).await.unwrap().address, "games.example.com");
}

#[tokio::test]
async fn ports_are_known_after_a_restart_and_followed_when_they_move() {
    let mut fixture = Fixture::new().await;
    let new = fixture.with_ports();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    let before = fixture.published(&new).await;
    fixture.restart();
    assert_eq!(fixture.published(&new).await, before, "before the host has reported anything");
    fixture.run().await;
    assert_eq!(fixture.published(&new).await, before);
    fixture.host.move_ports(new.id);
    fixture.run().await;
    assert_eq!(fixture.published(&new).await.unwrap().ports, direct([30_002, 30_003]));
}

#[tokio::test]
async fn an_adopted_runtime_gets_its_ports_from_the_list() {
    let mut fixture = Fixture::new().await;
    fixture.host.fail_next(HostCall::Start, HostFault::HoldAnswer);
    let new = fixture.with_ports();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    fixture.restart();
    fixture.run().await;
    assert_eq!(fixture.published(&new).await.unwrap().ports, direct([30_000, 30_001]));
}

#[tokio::test]
async fn what_came_to_an_end_is_nowhere() {
    let mut fixture = Fixture::new().await;
    let new = fixture.with_ports();
    fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    fixture.run().await;
    fixture.host.run_out_of_memory(new.id);
    fixture.run().await;
    let details = fixture.runtimes.of_deployment(fixture.deployment).await.unwrap().remove(0);
    assert_eq!((details.state.as_str(), details.address, details.ports.len()), ("failed", None, 0));
}

#[tokio::test]
async fn hosts_are_reached_by_the_name_in_their_uri_unless_the_operator_sets_another() {
    let address = |uri: &str, public: Option<&str>| {
        let public_address = public.map(str::to_owned);
        HostConfig { uri: uri.into(), public_address, ..HostConfig::local(1, 1) }.address().to_owned()
    };
    assert_eq!(address("tcp://10.0.0.2:2376", None), "10.0.0.2");
    assert_eq!(address("tcp://[fd00::2]:2376", None), "fd00::2");
    assert_eq!(address("tcp://10.0.0.2:2376", Some("eu.example.com")), "eu.example.com");
    assert_eq!(address("unix:///var/run/docker.sock", None), "localhost");
}
