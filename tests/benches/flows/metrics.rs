//! What the server says of itself.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use omgservers_tests::Backend;

use crate::net::connect;

/// Transactions that wrote mailboxes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commits {
    pub(crate) count: f64,
    /// From the start of each to its end, summed up.
    pub(crate) seconds: f64,
    pub(crate) rows: f64,
}

impl Commits {
    /// What came after `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        Self {
            count: self.count - before.count,
            seconds: self.seconds - before.seconds,
            rows: self.rows - before.rows,
        }
    }

    /// Seconds of one.
    pub(crate) fn mean(self) -> f64 {
        self.seconds / self.count
    }
}

pub(crate) fn commits(backend: &Backend) -> anyhow::Result<Commits> {
    let text = scrape(backend)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|it| it.trim().parse().ok()).unwrap_or(0.0)
    };
    Ok(Commits {
        count: field("omgservers_messaging_commit_seconds_count"),
        seconds: field("omgservers_messaging_commit_seconds_sum"),
        rows: field("omgservers_messaging_commit_rows_sum"),
    })
}

fn scrape(backend: &Backend) -> anyhow::Result<String> {
    let mut stream = connect(backend.address())?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    String::from_utf8(text).context("metrics")
}
