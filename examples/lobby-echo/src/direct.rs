//! Players that connect directly. The first thing that each sends is its connect token, answered by
//! `welcome <client>`; what it sends afterwards comes back as it is. A sender without a good token
//! gets no answer.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use omgservers_client::{api::ClientId, direct::Verifier};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use crate::log::log;

/// The port in the container, for UDP and TCP. The version's configuration names it.
pub const PORT: u16 = 7777;

/// Most players by UDP, and most connections by TCP.
const MOST: usize = 1024;
/// A player that was silent for so long has to show a token again.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// How long a connection may take to show its token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest token or line.
const LONGEST: u64 = 4096;

/// Listens on [`PORT`] for as long as the process lives.
pub async fn listen(verifier: Verifier) -> io::Result<()> {
    let here = (Ipv4Addr::UNSPECIFIED, PORT);
    let (socket, listener) = (UdpSocket::bind(here).await?, TcpListener::bind(here).await?);
    tokio::try_join!(udp(socket, &verifier), tcp(listener, &verifier)).map(drop)
}

/// Returns the client of a token. A bad token is logged and gets no answer: a forged address
/// would direct the answer to a third party.
fn admit(verifier: &Verifier, token: &[u8], from: SocketAddr) -> Option<ClientId> {
    match verifier.verify(&String::from_utf8_lossy(token)) {
        Ok(token) => {
            log("connected", &json!({"client": token.client_id, "user": token.user_id, "from": from}));
            Some(token.client_id)
        }
        Err(problem) => {
            log("turned away", &json!({"from": from, "why": problem.sentence()}));
            None
        }
    }
}

/// A player by UDP.
struct Peer {
    client: ClientId,
    /// It may come twice: the answer may have been lost.
    token: Vec<u8>,
    last_received: Instant,
}

/// Serves players by UDP: each datagram is a message.
pub async fn udp(socket: UdpSocket, verifier: &Verifier) -> io::Result<()> {
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        // What an earlier answer met on its way is no trouble of this one.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let message = buffer.get(..length).unwrap_or_default();
        let now = Instant::now();
        peers.retain(|_, it| now.duration_since(it.last_received) < MAX_IDLE);
        if !peers.contains_key(&from) && peers.len() < MOST {
            let Some(client) = admit(verifier, message, from) else { continue };
            peers.insert(from, Peer { client, token: message.to_vec(), last_received: now });
        }
        let Some(peer) = peers.get_mut(&from) else { continue };
        peer.last_received = now;
        let _lost = if message == peer.token {
            socket.send_to(format!("welcome {}", peer.client).as_bytes(), from).await
        } else {
            socket.send_to(message, from).await
        };
    }
}

/// Serves players by TCP: each line is a message.
pub async fn tcp(listener: TcpListener, verifier: &Verifier) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let (stream, from) = listener.accept().await?;
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let verifier = verifier.clone();
        tokio::spawn(async move {
            let _closed = echo(stream, from, &verifier).await;
            drop(permit);
        });
    }
}

async fn echo(stream: TcpStream, from: SocketAddr, verifier: &Verifier) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    timeout(TOKEN_TIMEOUT, (&mut stream).take(LONGEST).read_until(b'\n', &mut line)).await??;
    let Some(client) = admit(verifier, line.trim_ascii_end(), from) else { return Ok(()) };
    line = format!("welcome {client}\n").into_bytes();
    while line.ends_with(b"\n") {
        stream.write_all(&line).await?;
        line.clear();
        (&mut stream).take(LONGEST).read_until(b'\n', &mut line).await?;
    }
    Ok(())
}
