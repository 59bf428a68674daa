//! One line of JSON for each thing that happened.

use std::{
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

#[derive(Serialize)]
struct Line<'a, T> {
    unix_ms: u128,
    event: &'a str,
    about: &'a T,
}

/// Writes a line to stdout.
pub fn log(event: &str, about: &impl Serialize) {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    if let Ok(line) = serde_json::to_string(&Line { unix_ms, event, about }) {
        // Nobody reads the log when stdout is gone.
        let _closed = writeln!(std::io::stdout(), "{line}");
    }
}
