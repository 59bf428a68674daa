//! Players on streams: with others that poll, over restarts of the backend, and through the
//! dispatcher.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use omgservers_client::{Event, Frame, Session, Transport};
use omgservers_tests::{Backend, Studio, eventually};

use crate::flows::wait_for;

fn assigned(event: &Event) -> bool {
    matches!(event, Event::Assigned { .. })
}

async fn studio(backend: &Backend) -> Studio {
    let studio = Studio::open(backend).await;
    let version = studio.push(backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    studio
}

/// What the lobby has said back to a session: so many numbers, in the order in which they came.
async fn echoes(session: &mut Session, count: u64) -> Vec<u64> {
    let mut received = Vec::new();
    while received.len() < usize::try_from(count).unwrap() {
        let echo = |it: &Event| matches!(it, Event::Message(raw) if raw.get().contains("\"echo\""));
        let Event::Message(raw) = wait_for(session, echo).await else { unreachable!() };
        let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap();
        received.push(value["echo"].as_u64().unwrap());
    }
    received
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_player_on_a_stream_and_one_that_polls_talk_to_each_other() {
    let backend = Backend::start().await;
    let studio = studio(&backend).await;
    let (mut streaming, polling) = tokio::join!(studio.player(), studio.player());
    let mut polling = polling.with_transport(Transport::Polling);
    wait_for(&mut streaming, assigned).await;
    wait_for(&mut polling, assigned).await;
    streaming.send("all: from the stream").unwrap();
    let (one, other) = tokio::join!(
        wait_for(
            &mut streaming,
            |it| matches!(it, Event::Message(raw) if raw.get().contains("from the stream"))
        ),
        wait_for(
            &mut polling,
            |it| matches!(it, Event::Message(raw) if raw.get().contains("from the stream"))
        ),
    );
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    polling.send("all: by request").unwrap();
    let (_, _) = tokio::join!(
        wait_for(&mut streaming, |it| matches!(it, Event::Message(raw) if raw.get().contains("by request"))),
        wait_for(&mut polling, |it| matches!(it, Event::Message(raw) if raw.get().contains("by request"))),
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn stops_and_kills_of_the_backend_lose_nothing_and_change_no_order() {
    let mut backend = Backend::start().await;
    let studio = studio(&backend).await;
    let mut sessions = vec![studio.player().await, studio.player().await];
    sessions.push(studio.player().await.with_transport(Transport::Polling));
    for session in &mut sessions {
        wait_for(session, assigned).await;
    }
    let before = backend.containers();
    let received = Arc::new(AtomicU64::new(0));
    let players = sessions.into_iter().map(|mut session| {
        let received = Arc::clone(&received);
        let sender = session.sender();
        let sending = tokio::spawn(async move {
            for number in 0..300_u64 {
                sender.send(&number).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        tokio::spawn(async move {
            // A receiver doesn't wait for the commit: a message that came just before a kill may
            // come again.
            let (mut echoed, mut seen) = (Vec::new(), HashSet::new());
            while echoed.len() < 300 {
                echoed.extend(echoes(&mut session, 1).await.into_iter().filter(|it| seen.insert(*it)));
                received.fetch_add(1, Ordering::SeqCst);
            }
            sending.await.unwrap();
            echoed
        })
    });
    let players: Vec<_> = players.collect();
    for round in 0..4 {
        // In the middle of the conversation, however fast it goes: 900 echoes come at least.
        let so_far = received.load(Ordering::SeqCst);
        let more = async || received.load(Ordering::SeqCst) >= (so_far + 60).min(900);
        eventually("echoes come between two ends of the backend", more).await;
        if round % 2 == 0 {
            backend.stop();
        } else {
            backend.kill();
        }
        backend.launch().await;
    }
    for player in players {
        assert_eq!(player.await.unwrap(), (0..300).collect::<Vec<_>>());
    }
    assert_eq!(backend.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn texts_and_bytes_go_through_the_dispatcher_and_back() {
    let backend = Backend::start().await;
    let studio = studio(&backend).await;
    let mut player = studio.player().await;
    wait_for(&mut player, assigned).await;
    player.send("meet").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::DispatcherConnected)).await;
    let frames = [Frame::from("a text"), Frame::from(vec![0_u8, 1, 255]), Frame::from("x".repeat(100_000))];
    for frame in frames {
        player.send_unreliable(frame.clone()).unwrap();
        wait_for(&mut player, |it| matches!(it, Event::Frame(back) if *back == frame)).await;
    }
    player.send("and the mailbox still works").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("still works"))).await;
}
