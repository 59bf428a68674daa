//! Players that connect by UDP. The first datagram of each is its connect token; later datagrams
//! from its address are its messages. A sender without a good token gets no answer: a forged
//! address would direct the answer to a third party.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use omgservers_client::{api::ClientId, direct::Verifier};
use serde_json::json;
use tokio::net::UdpSocket;

use crate::log::log;

/// The port in the container. The version's configuration names it.
pub const PORT: u16 = 7777;

/// The longest datagram that is looked at, bytes; a token fits.
const LONGEST: usize = 4096;
/// Most players who are remembered. A match has two; others of the deployment can't have its
/// tokens.
const MOST: usize = 16;
/// How long a token that was used is remembered after it has expired.
const KEPT: Duration = Duration::from_secs(60);

/// What a datagram means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// A player has shown its token, perhaps again: the answer may have been lost.
    Connected(ClientId),
    /// A player says something.
    Received(ClientId, String),
}

/// The players' side of a match by UDP.
#[derive(Debug)]
pub struct Direct {
    socket: UdpSocket,
    verifier: Verifier,
    peers: HashMap<ClientId, Peer>,
    /// Used tokens, as long as they are good: a second sender doesn't get in with one of them. A
    /// player whose address has changed requests another token from the backend.
    used: HashMap<String, SystemTime>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Peer {
    from: SocketAddr,
    token: Vec<u8>,
}

impl Direct {
    /// Listens on [`PORT`].
    pub async fn listen(verifier: Verifier) -> io::Result<Self> {
        Ok(Self::on(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?, verifier))
    }

    /// Listens on a socket that is there.
    pub fn on(socket: UdpSocket, verifier: Verifier) -> Self {
        Self { socket, verifier, peers: HashMap::new(), used: HashMap::new(), buffer: vec![0; LONGEST] }
    }

    /// The next datagram of a player. It may be dropped at any time.
    pub async fn next(&mut self) -> Datagram {
        loop {
            // What an earlier answer met on its way is no trouble of this one.
            let Ok((length, from)) = self.socket.recv_from(&mut self.buffer).await else { continue };
            let datagram = self.buffer.get(..length).unwrap_or_default().to_vec();
            if let Some(read) = self.read(datagram, from) {
                return read;
            }
        }
    }

    fn read(&mut self, datagram: Vec<u8>, from: SocketAddr) -> Option<Datagram> {
        if let Some((client, peer)) = self.peers.iter().find(|(_, it)| it.from == from) {
            let again = peer.token == datagram;
            let queued = || Datagram::Received(*client, String::from_utf8_lossy(&datagram).into_owned());
            return Some(if again { Datagram::Connected(*client) } else { queued() });
        }
        let connecting = match self.verifier.verify(&String::from_utf8_lossy(&datagram)) {
            Ok(token) => token,
            Err(problem) => {
                log("turned away", &json!({"from": from, "why": problem.sentence()}));
                return None;
            }
        };
        let client = connecting.client_id;
        let now = SystemTime::now();
        // Somewhat longer than they are good: clocks differ.
        self.used.retain(|_, expires| !now.duration_since(*expires).is_ok_and(|it| it >= KEPT));
        let is_full = self.peers.len() >= MOST && !self.peers.contains_key(&client);
        if is_full || self.used.insert(connecting.token_id, connecting.expires).is_some() {
            log("turned away", &json!({"from": from, "client": client, "why": "the token was used"}));
            return None;
        }
        log("connected", &json!({"client": client, "from": from}));
        self.peers.insert(client, Peer { from, token: datagram });
        Some(Datagram::Connected(client))
    }

    /// Sends to one player, if it has connected. It may get lost.
    pub fn send_to(&self, client: ClientId, text: &str) {
        if let Some(peer) = self.peers.get(&client) {
            let _lost = self.socket.try_send_to(text.as_bytes(), peer.from);
        }
    }

    /// Sends to all players who have connected. It may get lost.
    pub fn show(&self, text: &str) {
        for client in self.peers.keys() {
            self.send_to(*client, text);
        }
    }
}
