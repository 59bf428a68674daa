//! Sessions and their lobbies.

use omgservers_api::{RuntimeQualifier, ids::Id as _};
use omgservers_deployments::Deployments as _;
use omgservers_fixtures::support;
use omgservers_matchmaking::Matchmaking as _;
use omgservers_messaging::Messaging as _;
use omgservers_runtimes::{NewRuntime, Runtimes as _};
use omgservers_versions::PinnedImage;
use serde_json::json;

use crate::fixture::{Fixture, qualifiers};

#[tokio::test]
async fn a_client_gets_its_welcome_its_matchmaker_and_then_a_lobby_that_polls() {
    let mut fixture = Fixture::new().await;
    let session = fixture.session().await;
    fixture.settle().await;
    let lobby = fixture.lobby();
    assert_eq!(fixture.info(session).route, None, "its game server doesn't poll yet");
    assert_eq!(qualifiers(&fixture.poll(lobby).await), ["INIT_RUNTIME"]);
    fixture.settle().await;
    let added = fixture.poll(lobby).await;
    assert_eq!(qualifiers(&added), ["ADD_CLIENT"]);
    assert_eq!(added[0].1["client_id"], json!(session.client.to_string()));
    let received = fixture.receive(session).await;
    let expected = ["SERVER_WELCOME_MESSAGE", "MATCHMAKER_ASSIGNMENT_MESSAGE", "RUNTIME_ASSIGNMENT_MESSAGE"];
    assert_eq!(qualifiers(&received), expected);
    assert_eq!(received[2].1["runtime_id"], json!(lobby.to_string()));
    assert_eq!(received[2].1["runtime_qualifier"], json!("LOBBY"));
}

#[tokio::test]
async fn a_broken_lobby_is_replaced_and_its_clients_keep_their_sessions() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    let broken = fixture.lobby();
    fixture.crash(broken);
    fixture.play().await;
    let lobby = fixture.lobby();
    assert_ne!(lobby, broken);
    for session in [first, second] {
        assert_eq!(fixture.info(session).route, Some(lobby));
        assert_eq!(qualifiers(&fixture.receive(session).await), ["RUNTIME_ASSIGNMENT_MESSAGE"]);
    }
    assert_eq!(fixture.count("lobby").await, 1);
}

#[tokio::test]
async fn a_lobby_that_polls_no_more_is_replaced() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let hung = fixture.lobby();
    fixture.advance(31);
    fixture.play().await;
    assert_ne!(fixture.lobby(), hung);
    assert_eq!(fixture.info(session).route, Some(fixture.lobby()));
}

#[tokio::test]
async fn a_deleted_lobby_disconnects_its_clients() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let details =
        fixture.node().matchmaking.details(&support(), fixture.at.tenant, fixture.deployment).await.unwrap();
    let lobby = details.lobby_refs[0].lobby_id;
    assert!(fixture.node().matchmaking.delete_lobby(&support(), lobby).await.unwrap());
    assert!(!fixture.node().matchmaking.delete_lobby(&support(), lobby).await.unwrap());
    assert!(fixture.info(session).closed);
    let received = fixture.receive(session).await;
    assert_eq!(received, [("DISCONNECTION_REASON_MESSAGE", json!({"reason": "INTERNAL_FAILURE"}))]);
}

#[tokio::test]
async fn a_requested_lobby_opens_though_no_client_waits() {
    let mut fixture = Fixture::new().await;
    fixture.settle().await;
    assert_eq!(fixture.running().len(), 0);
    let matchmaking = &fixture.node().matchmaking;
    matchmaking.request_lobby(&support(), fixture.at.tenant, fixture.deployment).await.unwrap();
    fixture.settle().await;
    assert_eq!(fixture.running_as(RuntimeQualifier::Lobby).len(), 1);
}

#[tokio::test]
async fn the_end_of_a_deployment_disconnects_its_clients_and_stops_its_runtimes() {
    let mut fixture = Fixture::new().await;
    let players = fixture.duel().await;
    let in_lobby = fixture.session().await;
    fixture.play().await;
    fixture.receive(in_lobby).await;
    let (tenant, deployment) = (fixture.at.tenant, fixture.deployment);
    assert!(fixture.base.deployments.delete(&support(), tenant, deployment).await.unwrap());
    fixture.settle().await;
    for session in players.into_iter().chain([in_lobby]) {
        assert!(fixture.info(session).closed);
        let received = fixture.receive(session).await;
        assert_eq!(received, [("DISCONNECTION_REASON_MESSAGE", json!({"reason": "INTERNAL_FAILURE"}))]);
    }
    assert_eq!(fixture.running().len(), 0);
    for table in ["lobby", "match", "ticket", "matchmaker"] {
        assert_eq!(fixture.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_replaced_deployment_keeps_its_clients_and_goes_with_the_last_of_them() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let version = fixture.base.deployable_version(fixture.at).await;
    let next = fixture.base.deploy(fixture.at, version).await.unwrap();
    fixture.play().await;
    assert_eq!(fixture.info(session).route, Some(fixture.lobby()));
    let newcomer = fixture.session().await;
    assert_eq!(fixture.info(newcomer).deployment, next);
    fixture.send(fixture.lobby(), &[crate::fixture::about("KICK_CLIENT", session)]).await;
    fixture.play().await;
    let former = fixture.base.deployments.full(fixture.deployment).await;
    assert!(former.unwrap_err().is(omgservers_deployments::problems::NOT_FOUND));
    assert_eq!(fixture.info(newcomer).route, Some(fixture.lobby()));
}

#[tokio::test]
async fn a_replaced_deployment_that_can_not_go_yet_is_retried_after_a_pause() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    // As if its deploy hadn't returned yet.
    fixture.note_listed(false).await;
    let version = fixture.base.deployable_version(fixture.at).await;
    fixture.base.deploy(fixture.at, version).await.unwrap();
    fixture.send(fixture.lobby(), &[crate::fixture::about("KICK_CLIENT", session)]).await;
    fixture.play().await;
    assert!(fixture.base.deployments.full(fixture.deployment).await.is_ok(), "the workers rest");
    fixture.note_listed(true).await;
    fixture.advance(1);
    fixture.play().await;
    let former = fixture.base.deployments.full(fixture.deployment).await;
    assert!(former.unwrap_err().is(omgservers_deployments::problems::NOT_FOUND));
}

#[tokio::test]
async fn a_resync_stops_runtimes_that_nobody_owns() {
    let mut fixture = Fixture::new().await;
    fixture.sessions_in_lobby::<1>().await;
    let stray = NewRuntime {
        id: fixture.base.foundation.mint.child(fixture.deployment).unwrap(),
        tenant: fixture.at.tenant,
        deployment: fixture.deployment,
        qualifier: RuntimeQualifier::Lobby,
        image: PinnedImage {
            qualifier: omgservers_api::roles::ImageQualifier::Universal,
            repository: format!("omgservers/{}/2/universal", fixture.at.tenant.get()),
            digest: omgservers_fixtures::digest(1),
        },
        cpu_limit: 0,
        memory_limit: 0,
        ports: Vec::new(),
        labels: Vec::new(),
    };
    fixture.node().runtimes.create(std::slice::from_ref(&stray)).await.unwrap();
    fixture.settle().await;
    assert_eq!(fixture.running().len(), 2);
    assert_eq!(fixture.resync().await, 1);
    fixture.settle().await;
    assert_ne!(fixture.lobby(), stray.id);
    assert_eq!(fixture.resync().await, 0);
    assert!(fixture.node().messaging.runtime(fixture.lobby()).is_some());
}
