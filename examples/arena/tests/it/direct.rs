use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use omgservers_arena::direct::{Datagram, Direct};
use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_client::{
    api::{ClientId, RuntimeId, UserId, ids::Id as _},
    direct::Verifier,
};
use omgservers_core::SystemClock;
use tokio::{net::UdpSocket, time::timeout};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const READY_TIMEOUT: Duration = Duration::from_secs(10);

async fn received(direct: &mut Direct) -> Datagram {
    timeout(READY_TIMEOUT, direct.next()).await.unwrap()
}

#[tokio::test]
async fn only_clients_with_a_token_of_this_match_are_answered() {
    let keys = Keys::ephemeral();
    let key = keys.connect_key().unwrap();
    let verifier = Verifier::new(&key.pem, RuntimeId::from_i64(9).unwrap()).unwrap();
    let tokens = Tokens::new(Arc::new(keys), Arc::new(SystemClock::default()), TokenConfig::default());
    let client = ClientId::from_i64(7).unwrap();
    let token = |runtime: i64| {
        let user = UserId::from_i64(8).unwrap();
        tokens.connect(client, user, RuntimeId::from_i64(runtime).unwrap(), &key.kid).unwrap()
    };
    let (good, foreign) = (token(9), token(10));

    let socket = UdpSocket::bind(ANY).await.unwrap();
    let at = socket.local_addr().unwrap();
    let mut direct = Direct::on(socket, verifier);
    let (player, stranger) = (UdpSocket::bind(ANY).await.unwrap(), UdpSocket::bind(ANY).await.unwrap());
    for socket in [&player, &stranger] {
        socket.connect(at).await.unwrap();
    }
    for datagram in ["", "lunge", foreign.as_str()] {
        stranger.send(datagram.as_bytes()).await.unwrap();
    }
    player.send(good.as_bytes()).await.unwrap();
    assert_eq!(
        received(&mut direct).await,
        Datagram::Connected(client),
        "the stranger came first and wasn't heard"
    );
    // Whoever overhears the token gets in no more.
    stranger.send(good.as_bytes()).await.unwrap();
    player.send(good.as_bytes()).await.unwrap();
    assert_eq!(received(&mut direct).await, Datagram::Connected(client), "the token again");
    player.send(b"lunge").await.unwrap();
    assert_eq!(received(&mut direct).await, Datagram::Received(client, "lunge".to_owned()));

    direct.show("state");
    let mut buffer = [0; 64];
    let length = timeout(READY_TIMEOUT, player.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"state");
    // What comes, comes well below a millisecond.
    assert!(timeout(Duration::from_millis(200), stranger.recv(&mut buffer)).await.is_err());

    // Its address has changed: the old token is used, another one isn't.
    let moved = UdpSocket::bind(ANY).await.unwrap();
    moved.connect(at).await.unwrap();
    let again = token(9);
    moved.send(good.as_bytes()).await.unwrap();
    moved.send(again.as_bytes()).await.unwrap();
    assert_eq!(received(&mut direct).await, Datagram::Connected(client));
    // Nor does the old one bring the old address back.
    for datagram in [good.as_bytes(), b"lunge"] {
        player.send(datagram).await.unwrap();
    }
    moved.send(b"parry").await.unwrap();
    assert_eq!(received(&mut direct).await, Datagram::Received(client, "parry".to_owned()));
    direct.send_to(client, "state");
    let length = timeout(READY_TIMEOUT, moved.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..length], b"state");
}
