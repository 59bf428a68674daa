//! What tests of the whole system share: the real binary as a child process, games as images, and a
//! studio.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on must fail at once"
)]

mod backend;
mod docker;
mod idle_runtime;
mod ports;
mod studio;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

pub use backend::{Backend, open_folder, sweep};
pub use docker::{Docker, Game};
pub use idle_runtime::IdleRuntime;
pub use ports::ReservedPort;
pub use studio::Studio;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A binary of the workspace, built if the test run didn't.
pub fn binary(package: &str, name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let beside = me.parent().unwrap();
    // Tests and examples are one folder deeper than programs.
    let is_deeper = ["deps", "examples"].iter().any(|it| beside.ends_with(it));
    let folder = if is_deeper { beside.parent().unwrap() } else { beside };
    let path = folder.join(name);
    if !path.exists() {
        run(Command::new(env!("CARGO")).args(["build", "-p", package, "--bin", name]).current_dir(root()));
    }
    path
}

/// Runs a program to its end and answers what it printed. Panics unless it succeeds.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|it| panic!("{command:?}: {it}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// How long something that must happen may take. It bounds a test that fails, so it is generous: a
/// machine whose cores are busy takes many times as long as an idle one.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks `check` until it returns true. Panics after [`DEADLINE`].
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !check().await {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
