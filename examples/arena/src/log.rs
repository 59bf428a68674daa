//! One line of JSON for each thing that happened.

use std::io::Write as _;

use serde_json::{Value, json};

/// Writes a line to stdout, which is the container's log.
pub fn log(event: &str, about: &Value) {
    let line = json!({"event": event, "about": about});
    // Nobody reads the log when stdout is gone.
    let _closed = writeln!(std::io::stdout(), "{line}");
}
