//! A configured pool of two hosts, with the operator's settings of each. One is the Docker of this
//! machine. The other answers every request and has no images: a request for an image shows that a
//! game server is placed there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use omgservers_client::Event;
use omgservers_tests::{Backend, Studio, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::flows::wait_for;

/// A daemon without images, behind a socket of its own.
struct Barren {
    uri: String,
    asked: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Barren {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let images = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&images)));
            }
        });
        Self { uri: format!("unix://{}", path.display()), asked, _folder: folder }
    }

    /// How often it was asked for an image.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Answers the requests of one connection.
async fn answer(stream: UnixStream, images: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match path {
            _ if path.contains("/events") => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                let _sent = stream.write_all(head.as_bytes()).await;
                return std::future::pending().await;
            }
            _ if path.ends_with("/_ping") => ("200 OK", "OK"),
            _ if path.contains("/containers/json") || path.contains("/networks") => ("200 OK", "[]"),
            _ if path.contains("/images/") => {
                images.fetch_add(1, Ordering::SeqCst);
                ("404 Not Found", r#"{"message":"no such image"}"#)
            }
            _ => ("404 Not Found", r#"{"message":"nothing like it"}"#),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

const STATES: [&str; 2] = ["OMGSERVERS__POOL__HOSTS__0__STATE", "OMGSERVERS__POOL__HOSTS__1__STATE"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn cordoned_and_draining_hosts_of_the_configuration_take_nothing_and_keep_what_they_have() {
    let barren = Barren::start();
    let mut backend = Backend::with(&[
        ("OMGSERVERS__POOL__HOSTS__0__URI", "unix:///var/run/docker.sock"),
        ("OMGSERVERS__POOL__HOSTS__0__CPU_COUNT", "8"),
        ("OMGSERVERS__POOL__HOSTS__0__MEMORY_MB", "4096"),
        ("OMGSERVERS__POOL__HOSTS__1__URI", &barren.uri),
        ("OMGSERVERS__POOL__HOSTS__1__CPU_COUNT", "8"),
        ("OMGSERVERS__POOL__HOSTS__1__MEMORY_MB", "4096"),
        (STATES[0], "cordoned"),
    ])
    .await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = studio.player().await;
    let open = async || barren.asked() > 0;
    eventually("the active host is asked for the image", open).await;
    assert!(backend.containers().is_empty(), "the cordoned one gets nothing");

    backend.stop();
    backend.set(STATES[0], "active");
    backend.set(STATES[1], "draining");
    backend.launch().await;
    wait_for(&mut player, |it| matches!(it, Event::Assigned { .. })).await;
    let running = backend.containers();
    assert_eq!(running.len(), 1);
    let asked = barren.asked();

    backend.stop();
    backend.set(STATES[0], "draining");
    backend.launch().await;
    player.send("still here?").unwrap();
    let received = |it: &Event| matches!(it, Event::Message(raw) if raw.get().contains("still here?"));
    wait_for(&mut player, received).await;
    assert_eq!(backend.containers(), running, "what runs on a draining host goes on");
    let second = studio.deploy(version).await;
    let mut newcomer = studio.player().await;
    let waits = async || {
        let failures = studio.details(second).await.runtimes.into_iter().filter_map(|it| it.last_failure);
        failures.map(|it| it.reason).any(|it| it.contains("0 of 2 hosts"))
    };
    eventually("a lobby for the newcomer finds no host", waits).await;
    assert_eq!((backend.containers(), barren.asked()), (running, asked));

    backend.stop();
    backend.set(STATES[0], "active");
    backend.launch().await;
    wait_for(&mut newcomer, |it| matches!(it, Event::Assigned { .. })).await;
}
