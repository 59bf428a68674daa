//! What `/proc` knows of processes.

use std::fs;

use rustix::process::Pid;

/// The id as the kernel takes it.
pub(crate) fn pid_of(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// The processes that a process has started.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|it| parent(*it) == Some(of)).collect()
}

/// The command line, as the process shows it; empty when there is no such process.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The fourth field; the second is a name in brackets that may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent() {
        use std::{
            io::{Read as _, Write as _},
            process::{Command, Stdio},
        };
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It is what it was started as once it answers.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        input.write_all(b"?").unwrap();
        output.read_exact(&mut [0]).unwrap();
        assert!(children(std::process::id()).contains(&child.id()));
        assert!(command_line(child.id()).starts_with("cat"));
        drop(input);
        child.wait().unwrap();
        assert!(!children(std::process::id()).contains(&child.id()));
    }
}
