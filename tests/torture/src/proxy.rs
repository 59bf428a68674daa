//! A proxy in front of PostgreSQL, with which connections can be made slow and broken where it
//! hurts.
//!
//! It reads the protocol (version 3, without TLS) just far enough to know where messages begin and
//! which of them commit.

mod session;
mod wire;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// Where a connection is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// A statement was passed by half.
    Statement,
    /// A COMMIT arrived and was not passed on.
    Commit,
    /// A COMMIT was carried out and its answer was not passed on.
    CommitAnswer,
}

/// What all connections of a proxy share.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    delay_millis: AtomicU64,
    trap: Mutex<Option<(Trap, u32)>>,
    /// Counts the times that everything was cut.
    cuts: watch::Sender<u64>,
    sprung: AtomicU64,
}

impl Control {
    /// Each message to PostgreSQL arrives so much later from now on; zero passes it at once.
    pub fn delay(&self, delay: Duration) {
        self.delay_millis.store(u64::try_from(delay.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Breaks the connections that run into the trap, so many times. A later trap takes the place
    /// of an earlier one.
    pub fn set(&self, trap: Trap, times: u32) {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some((trap, times));
    }

    /// Takes the trap away.
    pub fn disarm(&self) {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How often the trap that is set will still break a connection.
    pub fn armed(&self) -> u32 {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner).map_or(0, |it| it.1)
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// How often a trap has broken a connection.
    pub fn sprung(&self) -> u64 {
        self.sprung.load(Ordering::Relaxed)
    }

    /// Whether a connection runs into the trap now.
    fn springs(&self, trap: Trap) -> bool {
        let mut armed = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, left)) = armed.as_mut().filter(|it| it.0 == trap && it.1 > 0) else { return false };
        *left = left.saturating_sub(1);
        self.sprung.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.delay_millis.load(Ordering::Relaxed))
    }

    async fn upstream(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, in front of the PostgreSQL at the Unix socket. Fails without a free
    /// port.
    pub async fn start(socket: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control {
            socket: socket.to_owned(),
            delay_millis: AtomicU64::new(0),
            trap: Mutex::new(None),
            cuts: watch::Sender::new(0),
            sprung: AtomicU64::new(0),
        });
        let shared = Arc::clone(&control);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let control = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut cut = control.cuts.subscribe();
                    tokio::select! {
                        // However it ends, both sides notice.
                        _ended = session::carry(stream, &control) => {}
                        _cut = cut.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, control, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its instructions.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
