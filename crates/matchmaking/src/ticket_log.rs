//! A log of tickets as they came, so that other rules can be tried on them later.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use omgservers_api::DeploymentId;
use omgservers_matcher::replay::LogLine;

/// Lines that may wait to be written; more are dropped and counted, for a slow disk must not hold
/// the matchmaker.
const MOST_LINES: usize = 10_000;

/// A folder with one log per deployment, `<deployment id>.jsonl`; `omgservers matchmaking replay`
/// reads them.
#[derive(Debug)]
pub struct TicketLog {
    lines: SyncSender<(DeploymentId, String)>,
}

impl TicketLog {
    /// Opens the folder, made if it isn't there, and starts the thread that writes. It ends with
    /// this value.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        metrics::describe_counter!(
            "omgservers_ticket_log_dropped_total",
            "Lines of the ticket log that were dropped."
        );
        metrics::counter!("omgservers_ticket_log_dropped_total").increment(0);
        fs::create_dir_all(&folder)?;
        let (lines, written) = sync_channel(MOST_LINES);
        thread::Builder::new().name("ticket-log".to_owned()).spawn(move || write_all(&folder, &written))?;
        Ok(Self { lines })
    }

    pub(crate) fn note(&self, deployment: DeploymentId, line: &LogLine) {
        let Ok(text) = line.line() else { return };
        if self.lines.try_send((deployment, text)).is_err() {
            metrics::counter!("omgservers_ticket_log_dropped_total").increment(1);
        }
    }
}

fn write_all(folder: &Path, lines: &Receiver<(DeploymentId, String)>) {
    let mut files: HashMap<DeploymentId, File> = HashMap::new();
    for (deployment, line) in lines {
        if let Err(error) = write(folder, &mut files, deployment, &line) {
            files.remove(&deployment);
            metrics::counter!("omgservers_ticket_log_dropped_total").increment(1);
            tracing::warn!(deployment.id = %deployment, %error, "the ticket log can't be written");
        }
    }
}

fn write(
    folder: &Path,
    files: &mut HashMap<DeploymentId, File>,
    deployment: DeploymentId,
    line: &str,
) -> io::Result<()> {
    if let Some(file) = files.get_mut(&deployment) {
        return file.write_all(line.as_bytes());
    }
    let path = folder.join(format!("{deployment}.jsonl"));
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())?;
    files.insert(deployment, file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use omgservers_api::{TicketId, ids::Id as _};
    use omgservers_matcher::replay::LogEvent;

    use super::*;

    #[test]
    fn what_was_noted_can_be_read_back_line_by_line() {
        let folder = std::env::temp_dir().join(format!("omgservers-tickets-{}", std::process::id()));
        let _left_over = fs::remove_dir_all(&folder);
        let mut files = HashMap::new();
        let deployment = DeploymentId::from_i64(7).unwrap();
        let line = |ticket: i64| LogLine {
            at_ms: ticket,
            mode: Some("duel".to_owned()),
            event: LogEvent::Cancel { ticket_id: TicketId::from_i64(ticket).unwrap() },
        };
        fs::create_dir_all(&folder).unwrap();
        for ticket in 1..=2 {
            write(&folder, &mut files, deployment, &line(ticket).line().unwrap()).unwrap();
        }
        let text = fs::read_to_string(folder.join("7.jsonl")).unwrap();
        let read: Vec<LogLine> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(read, [line(1), line(2)]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
