use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Serve, clean, folder, omgservers, postmaster, status, until};

/// How a server that has its database answers, and one that hasn't.
async fn readiness(url: &str) -> u16 {
    status(&format!("{url}/readyz")).await.unwrap_or(0)
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn gone(pid: i32) -> bool {
    // A zombie that nobody reaps is as good as gone.
    !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "))
}

#[tokio::test]
async fn the_first_start_makes_a_database_that_nobody_else_can_reach_and_the_second_uses_it() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut first = Serve::new(&data).start().await;
    let pid = postmaster(&data).expect("PostgreSQL runs");
    let run = fs::metadata(data.join("pg/run")).unwrap();
    assert_eq!(run.permissions().mode() & 0o777, 0o700);
    assert_ne!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0, "PostgreSQL isn't root");
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    assert!(!sockets.contains(":1538 "), "it listens on port 5432 (hexadecimal 1538)");
    first.stop().await;
    assert!(gone(pid), "it stops with the server");

    let made = fs::metadata(data.join("pg/data/PG_VERSION")).unwrap().ino();
    let installation = fs::read_to_string(data.join("installation")).unwrap();
    let mut second = Serve::new(&data).start().await;
    assert_eq!(fs::metadata(data.join("pg/data/PG_VERSION")).unwrap().ino(), made, "the same cluster");
    assert_eq!(fs::read_to_string(data.join("installation")).unwrap(), installation);
    second.stop().await;
}

#[tokio::test]
async fn when_the_server_is_killed_postgresql_ends_cleanly_by_itself() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut server = Serve::new(&data).start().await;
    let pid = postmaster(&data).unwrap();
    server.signal(Signal::KILL);
    server.ended().await;
    until("PostgreSQL ends", || gone(pid)).await;
    assert!(!data.join("pg/data/postmaster.pid").exists(), "a clean stop removes its pid file");
    Serve::new(&data).start().await.stop().await;
}

#[tokio::test]
async fn a_postgresql_that_was_left_behind_is_stopped_by_the_next_start() {
    let folder = folder();
    let data = folder.path().join("data");
    Serve::new(&data).start().await.stop().await;
    // The same command that the server uses, without its tie to the server's life.
    let mut orphan = leave_behind(&data);
    until("the orphan runs", || postmaster(&data).is_some()).await;
    let pid = postmaster(&data).unwrap();
    let mut server = Serve::new(&data).start().await;
    let _reaped = orphan.wait();
    assert!(gone(pid));
    assert_ne!(postmaster(&data), Some(pid));
    assert!(server.log().contains("still runs; stopping it"), "{}", server.log());
    server.stop().await;
}

fn leave_behind(data: &Path) -> std::process::Child {
    let owner = fs::metadata(data.join("pg/data")).unwrap();
    let version = fs::read_to_string(data.join("pg/data/PG_VERSION")).unwrap();
    let mut command = clean(Command::new(format!("/usr/lib/postgresql/{}/bin/postgres", version.trim())));
    command
        .arg("-D")
        .arg(data.join("pg/data"))
        .arg("-k")
        .arg(data.join("pg/run"))
        .args(["-c", "listen_addresses="]);
    command.current_dir(data.join("pg/data").parent().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.process_group(0).spawn().unwrap()
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_not_stop_the_start() {
    let folder = folder();
    let data = folder.path().join("data");
    Serve::new(&data).start().await.stop().await;
    let ours = std::process::id();
    let file = data.join("pg/data/postmaster.pid");
    fs::write(&file, format!("{ours}\n{}\n1\n5432\n\n\n0 0\n", data.join("pg/data").display())).unwrap();
    Serve::new(&data).start().await.stop().await;
}

#[tokio::test]
async fn when_postgresql_falls_the_server_turns_unready_and_recovers() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut server = Serve::new(&data).start().await;
    let pid = postmaster(&data).unwrap();
    // Stopped, it doesn't answer and doesn't end: readiness must notice by itself.
    kill(pid, Signal::STOP);
    for child in children(pid) {
        kill(child, Signal::STOP);
    }
    let mut seen = 200;
    while seen == 200 {
        seen = readiness(&server.url).await;
    }
    assert_eq!(seen, 503);
    assert_eq!(status(&format!("{}/healthz", server.url)).await.unwrap(), 200, "the process itself is well");
    // Its sessions hang still, and the next one can't start before they are gone.
    kill(pid, Signal::KILL);
    server.ready().await;
    assert_ne!(postmaster(&data), Some(pid), "another process");
    server.stop().await;
}

/// A stopped session is a child of a stopped postmaster.
fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or_default().split(' ').nth(1);
        after.and_then(|it| it.parse().ok()) == Some(parent)
    })
    .collect()
}

#[tokio::test]
async fn two_servers_on_one_data_directory_are_refused() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut first = Serve::new(&data).start().await;
    let mut second = Serve::new(&data).spawn();
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.log().contains("another server uses the data directory"), "{}", second.log());
    assert!(second.log().contains(&first.child.id().to_string()), "{}", second.log());
    assert_eq!(readiness(&first.url).await, 200, "the first one isn't disturbed");
    first.stop().await;
}

fn refusal(data: &Path, bin_dir: &Path) -> String {
    let output = omgservers()
        .args(["migrate", "--data-dir"])
        .arg(data)
        .env("OMGSERVERS__DATABASE__BIN_DIR", bin_dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_left_alone() {
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("pg/data")).unwrap();
    fs::write(data.join("pg/data/PG_VERSION"), "9\n").unwrap();
    let output = omgservers().args(["migrate", "--data-dir"]).arg(&data).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("made by PostgreSQL 9") && errors.contains("pg_upgrade"), "{errors}");
    let left: Vec<PathBuf> =
        fs::read_dir(data.join("pg/data")).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left, [data.join("pg/data/PG_VERSION")]);
}

#[tokio::test]
async fn missing_programs_are_reported_in_one_sentence() {
    let folder = folder();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let output = refusal(&folder.path().join("data"), &empty);
    assert!(output.contains("has no programs `initdb` and `postgres`"), "{output}");
}

#[tokio::test]
async fn a_deep_data_directory_gets_its_socket_elsewhere() {
    let folder = folder();
    let data = folder
        .path()
        .join("a-rather-long-name-of-a-directory/and-another-one-below-it/and-so-on/and-on/data");
    let mut server = Serve::new(&data).start().await;
    assert!(!data.join("pg/run").exists());
    server.stop().await;
}

#[tokio::test]
async fn a_closed_directory_above_is_no_obstacle() {
    let folder = folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let data = closed.join("data");
    let mut first = Serve::new(&data).start().await;
    let pid = postmaster(&data).unwrap();
    first.signal(Signal::KILL);
    first.ended().await;
    until("PostgreSQL ends", || gone(pid)).await;
    let mut second = Serve::new(&data).start().await;
    let pid = postmaster(&data).unwrap();
    kill(pid, Signal::KILL);
    until("it runs again", || postmaster(&data).is_some_and(|it| it != pid)).await;
    second.ready().await;
    second.stop().await;
}

#[tokio::test]
async fn migrations_run_once() {
    let folder = folder();
    let data = folder.path().join("data");
    let run = || {
        let output = omgservers().args(["migrate", "--data-dir"]).arg(&data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run().contains("core/"));
    assert_eq!(run(), "");
    assert_eq!(postmaster(&data), None, "PostgreSQL is stopped again");
}
