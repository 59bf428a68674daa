//! One connection through the proxy.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};

use super::{
    Control, Trap,
    wire::{self, First, Message},
};

/// Most messages that wait for their time.
const MOST_WAITING: usize = 4096;

/// Carries a connection until one side, or a trap, ends it.
pub(super) async fn carry(client: TcpStream, control: &Control) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (reading, mut writing) = client.into_split();
    let mut reading = BufReader::new(reading);
    let startup = loop {
        match wire::first(&mut reading).await? {
            // As it is: not encrypted.
            First::Encrypt => writing.write_all(b"N").await?,
            First::Cancel(bytes) => return control.upstream().await?.write_all(&bytes).await,
            First::Startup(bytes) => break bytes,
        }
    };
    let (answers, mut statements) = control.upstream().await?.into_split();
    statements.write_all(&startup).await?;
    let answers = BufReader::new(answers);
    tokio::select! {
        ended = forth(reading, statements, control) => ended,
        ended = back(answers, writing, control) => ended,
    }
}

/// What the client says.
async fn forth(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
) -> io::Result<()> {
    let (sender, mut waiting) = mpsc::channel::<(Instant, Vec<u8>, bool)>(MOST_WAITING);
    let reads = async {
        loop {
            let message: Message = wire::message(&mut from).await?;
            if message.commits() && control.springs(Trap::Commit) {
                return Err(io::Error::other("trapped before a commit"));
            }
            let cut = message.is_statement() && control.springs(Trap::Statement);
            let mut bytes = message.bytes;
            if cut {
                bytes.truncate(bytes.len() / 2);
            }
            // Late, but not slower: what is sent together arrives together.
            let due = Instant::now() + control.latency();
            if sender.send((due, bytes, cut)).await.is_err() {
                return Ok(());
            }
        }
    };
    let writes = async {
        while let Some((due, bytes, cut)) = waiting.recv().await {
            tokio::time::sleep_until(due).await;
            to.write_all(&bytes).await?;
            if cut {
                to.flush().await?;
                return Err(io::Error::other("trapped in a statement"));
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = reads => ended,
        ended = writes => ended,
    }
}

/// What PostgreSQL answers.
async fn back(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    control: &Control,
) -> io::Result<()> {
    loop {
        let message = wire::message(&mut from).await?;
        if message.committed() && control.springs(Trap::CommitAnswer) {
            return Err(io::Error::other("trapped after a commit"));
        }
        to.write_all(&message.bytes).await?;
    }
}
