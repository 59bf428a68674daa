//! The server's process, kept as systemd would keep it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use omgservers_tests::Backend;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{history::Record, workload::Workload};

/// How long a start may take at all.
const START: Duration = Duration::from_secs(60);
/// How long a planned stop may take.
const STOP: Duration = Duration::from_secs(60);
/// Where Debian's package `libfaketime` puts it.
const FAKE_TIME: &str = "faketime/libfaketimeMT.so.1";

/// The clock of the server, which can be put off.
pub(super) struct FakeClock {
    library: PathBuf,
    file: tempfile::NamedTempFile,
}

impl FakeClock {
    /// `None` when the library isn't installed.
    pub(super) fn find() -> Option<Self> {
        let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|it| it.path().join(FAKE_TIME));
        let library = folders.into_iter().find(|it| it.exists())?;
        let file = tempfile::NamedTempFile::new().ok()?;
        fs::write(file.path(), "+0").ok()?;
        // PostgreSQL, when the server starts it, runs as another user.
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).ok()?;
        Some(Self { library, file })
    }

    /// What the server must be started with.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let path = |it: &Path| it.display().to_string();
        let fixed = [("FAKETIME_NO_CACHE", "1"), ("DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];
        let mut all = vec![
            ("LD_PRELOAD".to_owned(), path(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE".to_owned(), path(self.file.path())),
        ];
        all.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all
    }

    /// It is so many seconds off from now on.
    pub(super) fn step(&self, seconds: i32) -> std::io::Result<()> {
        fs::write(self.file.path(), format!("{seconds:+}"))
    }
}

/// The server.
pub(super) struct Server {
    pub(super) backend: Backend,
    pub(super) clock: Option<FakeClock>,
    launched: Option<Instant>,
    is_down: bool,
    /// How often it ended by itself and was started again.
    pub(super) relaunches: u32,
}

impl Server {
    pub(super) fn new(backend: Backend, clock: Option<FakeClock>) -> Self {
        Self { backend, clock, launched: None, is_down: false, relaunches: 0 }
    }

    /// When it was started last, after the first time.
    pub(super) fn launched(&self) -> Option<Instant> {
        self.launched
    }

    pub(super) fn log(&self) -> String {
        self.backend.log()
    }

    pub(super) fn kill(&mut self, workload: &Workload) {
        self.down(workload);
        self.backend.kill();
        self.launch();
    }

    /// A planned restart. One that isn't clean counts as a kill.
    pub(super) async fn restart(&mut self, workload: &Workload) -> anyhow::Result<()> {
        if !self.stop().await?.success() {
            self.down(workload);
        }
        self.launch();
        Ok(())
    }

    /// A planned stop.
    pub(super) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.backend.signal("-TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.backend.ended() {
                return Ok(status);
            }
            ensure!(begun.elapsed() < STOP, "the server doesn't stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn launch(&mut self) {
        self.backend.spawn();
        self.launched = Some(Instant::now());
    }

    fn down(&mut self, workload: &Workload) {
        workload.log.add(Record::Down);
        workload.downs.fetch_add(1, Ordering::AcqRel);
        self.is_down = true;
    }

    /// Starts it again if it has ended by itself.
    pub(super) fn keep(&mut self, workload: &Workload) {
        if self.backend.ended().is_some() {
            self.down(workload);
            self.relaunches = self.relaunches.saturating_add(1);
            self.launch();
        }
    }

    /// Waits until it is ready, and answers since when.
    pub(super) async fn ready(&mut self, workload: &Workload) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        while !is_ready(&self.backend).await {
            self.keep(workload);
            if begun.elapsed() > START {
                bail!("the server isn't ready after {START:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ready = Instant::now();
        if std::mem::take(&mut self.is_down) {
            workload.downs.fetch_add(1, Ordering::AcqRel);
            workload.log.add(Record::Up);
        }
        Ok(ready)
    }
}

async fn is_ready(backend: &Backend) -> bool {
    let request = async {
        let mut stream = TcpStream::connect(backend.address()).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    matches!(timeout(Duration::from_secs(2), request).await, Ok(Ok(answer)) if &answer == b"HTTP/1.1 200")
}
