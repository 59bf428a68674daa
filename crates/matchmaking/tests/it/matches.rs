//! Tickets and the matches that they become.

use omgservers_api::Role;
use omgservers_core::db::Fault;
use omgservers_fixtures::{support, user};
use omgservers_matchmaking::{Matchmaking as _, WhichTicket, problems};
use serde_json::json;

use crate::fixture::{Fixture, about, command, qualifiers, request};

#[tokio::test]
async fn two_tickets_of_a_mode_become_a_match_when_its_game_server_polls() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    let lobby = fixture.lobby();
    fixture.poll(lobby).await;
    assert_eq!(fixture.send(lobby, &[request(first, "duel"), request(second, "duel")]).await, []);
    fixture.settle().await;
    let runtime = fixture.match_runtime();
    assert_eq!(fixture.info(first).route, Some(lobby), "its game server doesn't poll yet");
    assert_eq!(qualifiers(&fixture.poll(runtime).await), ["INIT_RUNTIME"]);
    fixture.settle().await;
    assert_eq!(qualifiers(&fixture.poll(runtime).await), ["ADD_MATCH_CLIENT", "ADD_MATCH_CLIENT"]);
    assert_eq!(qualifiers(&fixture.poll(lobby).await), ["DELETE_CLIENT", "DELETE_CLIENT"]);
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(runtime));
        let received = fixture.receive(session).await;
        assert_eq!(qualifiers(&received), ["RUNTIME_ASSIGNMENT_MESSAGE"]);
        assert_eq!(received[0].1["runtime_qualifier"], json!("MATCH"));
    }
    assert_eq!((fixture.count("match").await, fixture.count("ticket").await), (1, 2));
}

#[tokio::test]
async fn a_cancelled_ticket_ends_with_a_message_and_once() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let (matchmaking, caller) = (fixture.node().matchmaking.clone(), user(Role::Player, session.user));
    fixture.send(fixture.lobby(), &[request(session, "duel")]).await;
    let ticket = matchmaking.own_ticket(&caller, session.client).await.unwrap();
    assert_eq!((ticket.state.as_str(), ticket.mode.as_str()), ("waiting", "duel"));
    assert!(matchmaking.cancel_own_ticket(&caller, session.client).await.unwrap());
    assert!(!matchmaking.cancel_own_ticket(&caller, session.client).await.unwrap());
    let received = fixture.receive(session).await;
    assert_eq!(qualifiers(&received), ["MATCHMAKING_FAILURE_MESSAGE"]);
    assert_eq!(received[0].1["reason"], json!("CANCELLED"));
    let none = matchmaking.own_ticket(&caller, session.client).await.unwrap_err();
    assert!(none.is(problems::NO_TICKET));
    assert_eq!(fixture.count("ticket").await, 0);
}

#[tokio::test]
async fn a_second_request_replaces_the_first_and_the_same_one_keeps_its_ticket() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let (matchmaking, lobby) = (fixture.node().matchmaking.clone(), fixture.lobby());
    let caller = user(Role::Player, session.user);
    fixture.send(lobby, &[request(session, "crowd")]).await;
    let first = matchmaking.own_ticket(&caller, session.client).await.unwrap();
    fixture.send(lobby, &[request(session, "crowd")]).await;
    assert_eq!(matchmaking.own_ticket(&caller, session.client).await.unwrap().id, first.id);
    fixture.send(lobby, &[request(session, "duel")]).await;
    let second = matchmaking.own_ticket(&caller, session.client).await.unwrap();
    assert!(second.id > first.id);
    assert_eq!(fixture.receive(session).await[0].1["reason"], json!("REPLACED"));
    let which = WhichTicket::Id(first.id);
    let gone = matchmaking.ticket(&support(), fixture.at.tenant, fixture.deployment, which).await;
    assert!(gone.unwrap_err().is(problems::NO_TICKET));
}

#[tokio::test]
async fn a_kick_out_of_a_match_leads_to_a_lobby_and_out_of_a_lobby_to_the_end() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.duel().await;
    let runtime = fixture.match_runtime();
    assert_eq!(fixture.send(runtime, &[about("KICK_CLIENT", first)]).await, []);
    fixture.play().await;
    assert_eq!(fixture.info(first).route, Some(fixture.lobby()));
    assert_eq!(fixture.info(second).route, Some(runtime), "the other one plays on");
    assert_eq!(fixture.send(fixture.lobby(), &[about("KICK_CLIENT", first)]).await, []);
    assert!(fixture.info(first).closed);
    let received = fixture.receive(first).await;
    assert_eq!(qualifiers(&received), ["RUNTIME_ASSIGNMENT_MESSAGE", "DISCONNECTION_REASON_MESSAGE"]);
    assert_eq!(received[1].1["reason"], json!("CLIENT_KICKED"));
}

#[tokio::test]
async fn an_empty_match_ends_and_the_players_of_a_broken_one_go_to_a_lobby() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.duel().await;
    let runtime = fixture.match_runtime();
    fixture.send(runtime, &[about("KICK_CLIENT", first), about("KICK_CLIENT", second)]).await;
    fixture.play().await;
    assert_eq!((fixture.count("match").await, fixture.running().len()), (0, 1));
    for session in [first, second] {
        fixture.receive(session).await;
    }
    fixture.send(fixture.lobby(), &[request(first, "duel"), request(second, "duel")]).await;
    fixture.play().await;
    fixture.crash(fixture.match_runtime());
    fixture.play().await;
    let lobby = fixture.lobby();
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(lobby));
    }
    assert_eq!((fixture.count("match").await, fixture.count("ticket").await), (0, 0));
}

#[tokio::test]
async fn a_match_whose_game_server_breaks_at_the_start_gives_its_tickets_another_one() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    fixture.send(fixture.lobby(), &[request(first, "duel"), request(second, "duel")]).await;
    fixture.settle().await;
    let broken = fixture.match_runtime();
    fixture.crash(broken);
    fixture.play().await;
    let runtime = fixture.match_runtime();
    assert_ne!(runtime, broken);
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(runtime));
        assert_eq!(qualifiers(&fixture.receive(session).await), ["RUNTIME_ASSIGNMENT_MESSAGE"]);
    }
}

#[tokio::test]
async fn tickets_of_a_deleted_matchmaker_go_to_another_one() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    fixture.send(fixture.lobby(), &[request(first, "duel")]).await;
    let matchmaking = fixture.node().matchmaking.clone();
    let details = matchmaking.details(&support(), fixture.at.tenant, fixture.deployment).await.unwrap();
    assert!(matchmaking.delete_matchmaker(&support(), details.matchmaker_refs[0].id).await.unwrap());
    fixture.send(fixture.lobby(), &[request(second, "duel")]).await;
    fixture.play().await;
    assert_eq!(fixture.info(first).route, Some(fixture.match_runtime()));
}

#[tokio::test]
async fn a_round_that_can_not_be_written_answers_nothing_and_can_be_repeated() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    let lobby = fixture.lobby();
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        *fixture.fault.lock().unwrap() = Some(fault);
        let commands = format!("[{}]", request(first, "duel"));
        let problem = fixture.exchange(lobby, &commands, &[]).await.unwrap_err();
        assert_eq!(problem.kind(), omgservers_api::Kind::Unavailable, "{fault:?}: {problem}");
    }
    fixture.send(lobby, &[request(first, "duel"), request(second, "duel")]).await;
    assert_eq!(fixture.count("ticket").await, 2);
    fixture.play().await;
    assert_eq!(fixture.info(first).route, Some(fixture.match_runtime()));
}

#[tokio::test]
async fn a_match_that_stops_its_matchmaking_gets_no_further_players() {
    let mut fixture = Fixture::new().await;
    let [first, _second] = fixture.duel().await;
    let third = fixture.session().await;
    fixture.play().await;
    let (runtime, lobby) = (fixture.match_runtime(), fixture.lobby());
    let stop = command("STOP_MATCHMAKING", "{}");
    assert_eq!(
        fixture.send(lobby, std::slice::from_ref(&stop)).await,
        [(0, "matchmaking.not_for_lobbies".into())]
    );
    assert_eq!(fixture.send(runtime, &[stop, about("KICK_CLIENT", first)]).await, []);
    fixture.send(lobby, &[request(third, "duel")]).await;
    fixture.play().await;
    assert_eq!(fixture.info(third).route, Some(lobby), "the seat stays empty");
}
