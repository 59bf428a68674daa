//! What `make run` does, against a backend of its own: the demonstration starts it, and leaves it
//! running.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use omgservers_tests::{Game, ReservedPort, binary, eventually, open_folder, run, sweep};

/// The backend that is left running; it and its containers go with this.
struct Left(PathBuf);

impl Left {
    fn process(&self) -> Option<String> {
        std::fs::read_to_string(self.0.join("server.pid")).ok().map(|it| it.trim().to_owned())
    }

    fn runs(&self) -> bool {
        self.process().is_some_and(|it| Path::new("/proc").join(it).join("exe").exists())
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(process) = self.process().filter(|_| self.runs()) {
            let _asked = Command::new("kill").args(["-KILL", &process]).status();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.0.join("server.log")).unwrap_or_default();
            eprintln!("--- log of the backend\n{log}");
        }
        sweep(&self.0);
    }
}

async fn demonstrate(data: &Path, port: u16) -> Output {
    let mut command = Command::new(binary("omgservers-ctl", "omgservers-demo"));
    command.arg("--server-binary").arg(binary("omgservers-server", "omgservers"));
    command.arg("--data-dir").arg(data).arg("--sample").arg(Game::Arena.binary());
    command.args(["--port", &port.to_string()]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_demonstration_goes_the_whole_way_and_leaves_a_backend_that_can_be_stopped() {
    let folder = tempfile::Builder::new().prefix("omg").permissions(open_folder()).tempdir().unwrap();
    let reserved = ReservedPort::new();
    let port = reserved.number;
    let left = Left(folder.path().join("data"));
    let output = demonstrate(&left.0, port).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "All are in a lobby, which runs in a container",
        "Ann and Bob ask for a duel, and are matched",
        "They fight over the dispatcher",
        "Cleo and Dan ask for one by UDP, and are matched",
        "They fight by UDP",
        "To stop it: kill $(cat ",
    ] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    assert_eq!(printed.matches("the winner is").count(), 2, "{printed}");
    assert_eq!(printed.matches("Both are back in a lobby, which knows who won").count(), 2, "{printed}");
    assert!(!printed.contains("FAILED"), "{printed}");

    // What it says afterwards is true.
    let health = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await.unwrap();
    assert!(health.status().is_success() && left.runs());
    let mut ctl = Command::new(binary("omgservers-ctl", "omgctl"));
    ctl.args(["--json", "developer", "get-tenant-details", "demo"])
        .env("OMGCTL_CONFIG", left.0.join("omgctl.json"));
    assert!(run(&mut ctl).contains("\"projects\""));
    run(Command::new("kill").arg(left.process().expect("it is written down")));
    eventually("it stops", async || !left.runs()).await;
}
