use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_testkit::TestDb;

use crate::program::{Serve, client, folder};

/// Players keep their connections and poll. While one server ends and the next starts, their
/// requests wait in the socket that systemd holds; here the test holds it.
async fn polling_clients_notice_nothing(settings: &[(&'static str, String)]) {
    let folder = folder();
    let data = folder.path().join("data");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || {
        let mut serve = Serve::new(&data).socket(&socket);
        serve.settings.extend_from_slice(settings);
        serve
    };
    let mut server = start().start().await;
    let url = format!("http://{}/healthz", socket.local_addr().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let players: Vec<_> = (0..16)
        .map(|index| {
            let (stop, answered, url) = (Arc::clone(&stop), Arc::clone(&answered), url.clone());
            tokio::spawn(async move {
                let client = client();
                while !stop.load(Ordering::Relaxed) {
                    // POST: no client repeats it by itself, so that a failure isn't hidden.
                    let answer = client.post(&url).body("{}").send().await;
                    let status = answer.map(|it| it.status().as_u16());
                    assert_eq!(status.map_err(|it| format!("{it:?}")), Ok(405), "player {index}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    // Half of them without a pause, half like players.
                    tokio::time::sleep(Duration::from_millis(if index < 8 { 0 } else { 100 })).await;
                }
            })
        })
        .collect();
    for round in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 500 {
            assert!(
                !players.iter().any(tokio::task::JoinHandle::is_finished),
                "a player failed in round {round}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.stop().await;
        server = start().start().await;
    }
    stop.store(true, Ordering::Relaxed);
    for player in players {
        player.await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_a_handed_over_socket_fails_no_request() {
    let db = TestDb::new(&[]).await;
    polling_clients_notice_nothing(&[
        ("OMGSERVERS__DATABASE__URL", db.url().to_owned()),
        ("OMGSERVERS__LIMITS__ENABLED", "false".to_owned()),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_that_restarts_its_own_postgresql() {
    polling_clients_notice_nothing(&[("OMGSERVERS__LIMITS__ENABLED", "false".to_owned())]).await;
}
