//! Histories as JSON lines: one record in a line.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
};

use super::Record;

/// Writes a history. Fails when the file can't be written.
pub fn write<'a>(path: &Path, history: impl IntoIterator<Item = &'a Record>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for record in history {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    out.into_inner()?.sync_all()
}

/// Reads a history, one record after the other. Fails when the file can't be read, and at a line
/// that is no record.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record>>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.enumerate().map(|(index, line)| {
        let wrong = |error| io::Error::other(format!("line {}: {error}", index.saturating_add(1)));
        serde_json::from_str(&line?).map_err(wrong)
    }))
}
