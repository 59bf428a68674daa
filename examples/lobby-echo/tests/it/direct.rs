//! Players who connect directly.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_client::{
    api::{ClientId, RuntimeId, UserId, ids::Id as _},
    direct::Verifier,
};
use omgservers_core::SystemClock;
use omgservers_lobby_echo::direct;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
/// For an answer that must not come. One that comes takes well below a millisecond.
const A_WHILE: Duration = Duration::from_millis(200);

/// What the game server checks with, and a token for the runtime with this id.
fn backend() -> (Verifier, impl Fn(i64) -> String) {
    let keys = Keys::ephemeral();
    let key = keys.connect_key().unwrap();
    let verifier = Verifier::new(&key.pem, RuntimeId::from_i64(9).unwrap()).unwrap();
    let tokens = Tokens::new(Arc::new(keys), Arc::new(SystemClock::default()), TokenConfig::default());
    let token = move |runtime: i64| {
        let (client, user) = (ClientId::from_i64(7).unwrap(), UserId::from_i64(8).unwrap());
        tokens.connect(client, user, RuntimeId::from_i64(runtime).unwrap(), &key.kid).unwrap()
    };
    (verifier, token)
}

/// What comes back for a datagram.
async fn request(socket: &UdpSocket, datagram: &str, timeout_after: Duration) -> Option<String> {
    let mut buffer = [0; 2048];
    socket.send(datagram.as_bytes()).await.unwrap();
    let length = timeout(timeout_after, socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

async fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(ANY).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

#[tokio::test]
async fn datagrams_of_who_has_shown_a_token_come_back() {
    let (verifier, token) = backend();
    let server = UdpSocket::bind(ANY).await.unwrap();
    let at = server.local_addr().unwrap();
    tokio::spawn(async move { direct::udp(server, &verifier).await });
    let (player, stranger) = (connected(at).await, connected(at).await);
    let timeout_after = Duration::from_secs(10);
    assert_eq!(request(&player, &token(9), timeout_after).await.as_deref(), Some("welcome 7"));
    assert_eq!(request(&player, "left", timeout_after).await.as_deref(), Some("left"));
    assert_eq!(request(&player, "", timeout_after).await.as_deref(), Some(""));
    for foreign in ["left", "", &token(10), &format!("{}x", token(9))] {
        assert_eq!(request(&stranger, foreign, A_WHILE).await, None, "{foreign}");
    }
    assert_eq!(request(&player, "right", timeout_after).await.as_deref(), Some("right"));
}

#[tokio::test]
async fn lines_of_who_has_shown_a_token_come_back_and_others_are_hung_up_on() {
    let (verifier, token) = backend();
    let listener = TcpListener::bind(ANY).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { direct::tcp(listener, &verifier).await });
    for (received, last_received) in [
        (format!("{}\nleft\nright\n", token(9)), "welcome 7\nleft\nright\n"),
        (format!("{}\nleft\n", token(10)), ""),
        ("left\n".to_owned(), ""),
    ] {
        let mut player = TcpStream::connect(at).await.unwrap();
        player.write_all(received.as_bytes()).await.unwrap();
        player.shutdown().await.unwrap();
        let mut all = String::new();
        // A player whose connection closes before it has read everything may see a reset.
        let _reset = timeout(Duration::from_secs(10), player.read_to_string(&mut all)).await.unwrap();
        assert_eq!(all, last_received);
    }
}
