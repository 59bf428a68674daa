//! Another process goes on where the former one ended.

use omgservers_api::Role;
use omgservers_fixtures::user;
use omgservers_matchmaking::Matchmaking as _;

use crate::fixture::{Fixture, about, qualifiers, request};

#[tokio::test]
async fn clients_stay_with_their_lobby_over_a_restart() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let lobby = fixture.lobby();
    fixture.restart().await;
    fixture.play().await;
    assert_eq!((fixture.lobby(), fixture.info(session).route), (lobby, Some(lobby)));
    assert_eq!(fixture.receive(session).await, [], "it learns of nothing");
}

#[tokio::test]
async fn a_client_that_waits_for_a_lobby_still_waits_after_a_restart() {
    let mut fixture = Fixture::new().await;
    let session = fixture.session().await;
    fixture.restart().await;
    fixture.play().await;
    assert_eq!(fixture.info(session).route, Some(fixture.lobby()));
}

#[tokio::test]
async fn a_ticket_that_waits_keeps_its_id_and_is_matched_after_a_restart() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    fixture.send(fixture.lobby(), &[request(first, "duel")]).await;
    let caller = user(Role::Player, first.user);
    let before = fixture.node().matchmaking.own_ticket(&caller, first.client).await.unwrap();
    fixture.restart().await;
    let after = fixture.node().matchmaking.own_ticket(&caller, first.client).await.unwrap();
    assert_eq!((before.id, before.created), (after.id, after.created));
    fixture.play().await;
    fixture.send(fixture.lobby(), &[request(second, "duel")]).await;
    fixture.play().await;
    assert_eq!(fixture.info(first).route, Some(fixture.match_runtime()));
}

#[tokio::test]
async fn a_match_that_starts_during_a_restart_gets_its_players() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    fixture.send(fixture.lobby(), &[request(first, "duel"), request(second, "duel")]).await;
    fixture.restart().await;
    fixture.play().await;
    let runtime = fixture.match_runtime();
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(runtime));
        assert_eq!(qualifiers(&fixture.receive(session).await), ["RUNTIME_ASSIGNMENT_MESSAGE"]);
    }
    assert_eq!(fixture.count("match").await, 1);
}

#[tokio::test]
async fn a_match_that_is_played_goes_on_after_a_restart() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.duel().await;
    let runtime = fixture.match_runtime();
    fixture.restart().await;
    fixture.play().await;
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(runtime));
    }
    fixture.send(runtime, &[about("KICK_CLIENT", first), about("KICK_CLIENT", second)]).await;
    fixture.play().await;
    assert_eq!(fixture.count("match").await, 0);
}
