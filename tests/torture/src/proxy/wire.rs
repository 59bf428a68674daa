//! Messages of PostgreSQL's protocol.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest message that is passed on.
const MOST_BYTES: usize = 256 << 20;
/// What a client asks for before it says who it is.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The first message of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Asks for encryption.
    Encrypt,
    /// Asks to cancel a statement of another connection.
    Cancel(Vec<u8>),
    /// Who it is.
    Startup(Vec<u8>),
}

/// Reads the first message.
pub(super) async fn first(from: &mut (impl AsyncRead + Unpin)) -> io::Result<First> {
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    read_rest(from, length, &mut bytes).await?;
    let code = bytes.get(4..8).and_then(|it| it.try_into().ok()).map_or(0, u32::from_be_bytes);
    Ok(match code {
        SSL_REQUEST | GSS_REQUEST => First::Encrypt,
        CANCEL_REQUEST => First::Cancel(bytes),
        _ => First::Startup(bytes),
    })
}

/// A message: its type, and all of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

/// Reads a message.
pub(super) async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&length.to_be_bytes());
    read_rest(from, length, &mut bytes).await?;
    Ok(Message { kind, bytes })
}

/// The length counts itself.
async fn read_rest(from: &mut (impl AsyncRead + Unpin), length: u32, into: &mut Vec<u8>) -> io::Result<()> {
    let rest = usize::try_from(length).ok().and_then(|it| it.checked_sub(4)).filter(|it| *it <= MOST_BYTES);
    let rest = rest.ok_or_else(|| io::Error::other(format!("a message of {length} bytes")))?;
    let at = into.len();
    into.resize(at.saturating_add(rest), 0);
    from.read_exact(into.get_mut(at..).unwrap_or_default()).await.map(drop)
}

impl Message {
    /// Whether a client says COMMIT, by simple query.
    pub(super) fn commits(&self) -> bool {
        self.kind == b'Q' && self.text().trim_end_matches([';', ' ']).eq_ignore_ascii_case("commit")
    }

    /// Whether a client asks for something that can be cut.
    pub(super) fn is_statement(&self) -> bool {
        matches!(self.kind, b'Q' | b'P' | b'B' | b'E')
    }

    /// Whether the server says that it has committed.
    pub(super) fn committed(&self) -> bool {
        self.kind == b'C' && self.text() == "COMMIT"
    }

    /// What is behind type and length, up to the first zero.
    fn text(&self) -> &str {
        let body = self.bytes.get(5..).unwrap_or_default();
        let end = body.iter().position(|it| *it == 0).unwrap_or(body.len());
        body.get(..end).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Message {
        message(&mut bytes).await.unwrap()
    }

    #[tokio::test]
    async fn commits_are_recognised_both_ways() {
        assert!(read(b"Q\0\0\0\x0bcommit\0").await.commits());
        assert!(read(b"Q\0\0\0\x0cCOMMIT;\0").await.commits());
        assert!(!read(b"Q\0\0\0\x0abegin\0").await.commits());
        assert!(read(b"C\0\0\0\x0bCOMMIT\0").await.committed());
        assert!(!read(b"C\0\0\0\x0dROLLBACK\0").await.committed());
    }

    #[tokio::test]
    async fn first_messages_have_their_kinds() {
        let request = |code: u32| [8_u32.to_be_bytes(), code.to_be_bytes()].concat();
        assert_eq!(first(&mut request(SSL_REQUEST).as_slice()).await.unwrap(), First::Encrypt);
        let version = request(196_608);
        assert_eq!(first(&mut version.as_slice()).await.unwrap(), First::Startup(version.clone()));
        assert!(matches!(first(&mut request(CANCEL_REQUEST).as_slice()).await.unwrap(), First::Cancel(_)));
    }

    #[tokio::test]
    async fn lengths_that_can_not_be_are_refused() {
        assert!(message(&mut b"Q\0\0\0\x03".as_slice()).await.is_err());
        assert!(message(&mut b"Q\xff\xff\xff\xff".as_slice()).await.is_err());
    }
}
