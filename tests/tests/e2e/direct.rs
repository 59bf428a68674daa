//! Players who connect to their game server directly, by UDP and TCP.

use std::{net::Ipv4Addr, time::Duration};

use omgservers_api::{
    ClientId, Kind,
    config::PortProtocol,
    ids::Id as _,
    interchange::{DirectConnection, DirectPort},
};
use omgservers_client::{Event, Session};
use omgservers_tests::{Backend, Studio, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::flows::wait_for;

const CONFIG: &str = r#"{"modes":[],"deployment":{"lobby":{"max_assignments":1,"cpu_limit":20,"memory_limit":64,"ports":[
    {"name":"game","protocol":"UDP","port":7777},{"name":"chat","protocol":"TCP","port":7777}]}}}"#;
/// For an answer that must come.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one that must not: what comes, comes within milliseconds.
const A_WHILE: Duration = Duration::from_millis(500);

/// How a player connects directly, as its assignment says.
async fn direct(session: &mut Session) -> DirectConnection {
    match wait_for(session, |it| matches!(it, Event::Assigned { .. })).await {
        Event::Assigned { direct: Some(direct), .. } => direct,
        other => panic!("no direct connection: {other:?}"),
    }
}

fn port<'a>(direct: &'a DirectConnection, name: &str) -> &'a DirectPort {
    direct.ports.iter().find(|it| it.name == name).unwrap()
}

/// A socket that speaks to the published UDP port.
async fn udp(direct: &DirectConnection) -> UdpSocket {
    let game = port(direct, "game");
    assert_eq!(game.protocol, PortProtocol::Udp);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    socket.connect((direct.address.as_str(), game.port)).await.unwrap();
    socket
}

/// What comes back for a datagram.
async fn request(socket: &UdpSocket, datagram: &str, limit: Duration) -> Option<String> {
    let mut buffer = [0; 2048];
    socket.send(datagram.as_bytes()).await.unwrap();
    let length = timeout(limit, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_player_with_a_token_of_its_own_sends_to_its_lobby_directly_and_nobody_else_does() {
    let backend = Backend::with(&[("OMGSERVERS__TOKENS__CONNECT_SECONDS", "10")]).await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, CONFIG).await;
    let deployment = studio.deploy(version).await;
    // One player for each lobby.
    let (mut one, mut two) = tokio::join!(studio.player(), studio.player());
    let (mine, theirs) = (direct(&mut one).await, direct(&mut two).await);
    assert_eq!((mine.address.as_str(), mine.ports.len()), ("localhost", 2));
    assert_ne!(port(&mine, "game").port, port(&theirs, "game").port);

    let socket = udp(&mine).await;
    let welcome = format!("welcome {}", one.client_id());
    assert_eq!(request(&socket, &mine.token, TIMEOUT).await, Some(welcome.clone()));
    assert_eq!(request(&socket, "jump", TIMEOUT).await.as_deref(), Some("jump"));

    let stranger = udp(&mine).await;
    for (what, datagram) in [("no token", "jump"), ("one for another runtime", theirs.token.as_str())] {
        assert_eq!(request(&stranger, datagram, A_WHILE).await, None, "{what}");
    }

    let chat = port(&mine, "chat");
    assert_eq!(chat.protocol, PortProtocol::Tcp);
    let mut stream = TcpStream::connect((mine.address.as_str(), chat.port)).await.unwrap();
    stream.write_all(format!("{}\nhello\n", mine.token).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut received = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut received)).await.unwrap().unwrap();
    assert_eq!(received, format!("{welcome}\nhello\n"));

    // Developers see it too.
    let details = studio.details(deployment).await;
    let shown = details.runtimes.iter().find(|it| it.ports == mine.ports).unwrap();
    assert_eq!(shown.address.as_deref(), Some("localhost"));

    // The connection goes on when the token has expired; nobody gets in with it any more.
    eventually("the token expires", async || {
        request(&udp(&mine).await, &mine.token, A_WHILE).await.is_none()
    })
    .await;
    assert_eq!(request(&socket, "still here", TIMEOUT).await.as_deref(), Some("still here"));

    // But with another token of the same assignment.
    let again = one.refresh_connect_token().await.unwrap();
    assert_eq!((&again.address, &again.ports), (&mine.address, &mine.ports));
    assert_eq!(request(&udp(&again).await, &again.token, TIMEOUT).await, Some(welcome));
    let foreign = two.player().refresh_connect_token(one.client_id()).await.unwrap_err();
    assert_eq!(foreign.qualifier(), "WRONG_CLIENT_ID");
    let unknown = two.player().refresh_connect_token(ClientId::from_i64(77).unwrap()).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.code()), (Kind::NotFound, "messaging.client_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn after_a_restart_of_the_backend_ports_are_known_and_tokens_are_good() {
    let mut backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version =
        studio.push(&backend, &CONFIG.replace("\"max_assignments\":1", "\"max_assignments\":9")).await;
    studio.deploy(version).await;
    let mut one = studio.player().await;
    let before = direct(&mut one).await;
    backend.kill();
    backend.launch().await;
    let mut two = studio.player().await;
    let after = direct(&mut two).await;
    assert_eq!(before.ports, after.ports, "the same lobby");
    let welcome = format!("welcome {}", two.client_id());
    assert_eq!(request(&udp(&after).await, &after.token, TIMEOUT).await, Some(welcome));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn without_ports_there_is_no_direct_connection() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = studio.player().await;
    let event = wait_for(&mut player, |it| matches!(it, Event::Assigned { .. })).await;
    assert!(matches!(event, Event::Assigned { direct: None, .. }), "{event:?}");
    let problem = player.refresh_connect_token().await.unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::NotFound, "player.no_direct_connection"));
}
