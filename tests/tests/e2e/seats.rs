//! Matches that don't start, that are kept warm, and seats that get free. The test plays lobby and
//! matches.

use std::time::Duration;

use omgservers_api::{
    ClientId, RuntimeId, RuntimeQualifier::Match, details::MatchDetails,
    entrypoint::developer::GetMatchDetailsRequest,
};
use omgservers_client::Command;
use omgservers_tests::{DEADLINE, eventually};

use crate::played::{PlayedFixture, fails};

const MODES: &str = r#"{"modes":[
    {"name":"duel","min_players":2,"max_players":2,"groups":[
        {"name":"red","min_players":1,"max_players":1},{"name":"blue","min_players":1,"max_players":1}]},
    {"name":"warm","min_players":1,"max_players":2,"min_matches":1,
     "groups":[{"name":"all","min_players":1,"max_players":2}]}],
    "deployment":{"lobby":{"cpu_limit":10},"match":{"cpu_limit":10}}}"#;

impl PlayedFixture {
    /// The match that is this runtime. `None` when it is given up, also between the two requests.
    async fn match_of(&self, runtime: RuntimeId) -> Option<MatchDetails> {
        let details = self.studio.details(self.deployment).await;
        let match_id = details.match_refs.iter().find(|it| it.runtime_id == runtime)?.match_id;
        let request = GetMatchDetailsRequest {
            tenant: self.studio.tenant.into(),
            deployment_id: self.deployment,
            match_id,
        };
        match self.studio.developer.get_match_details(&request).await {
            Ok(found) => Some(found.details),
            Err(problem) if problem.code() == "matchmaking.no_match" => None,
            Err(problem) => panic!("deployment {}, match {match_id}: {problem:?}", self.deployment),
        }
    }
}

fn clients(details: &MatchDetails) -> Vec<ClientId> {
    details.players.iter().map(|it| it.client_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn who_waits_keeps_its_place_and_who_is_next_takes_a_seat_that_gets_free() {
    let mut fixture =
        PlayedFixture::new(&[("OMGSERVERS__MATCHES__START_TIMEOUT_SECONDS", "20")], MODES).await;

    // A match is kept warm, before anybody comes, and whoever asks first gets into it at once.
    let mut warm = fixture.next(Match).await;
    let (mut lobby, mut players) = fixture.in_lobby(4).await;
    warm.receives("it is told what it is", |it| matches!(it, Command::Init { .. })).await;
    lobby.requests_match(&players[3], "warm").await;
    warm.welcome(&mut players[3]).await;
    lobby.misses(&players[3]).await;
    // Another one takes its place.
    fixture
        .next(Match)
        .await
        .receives("it is told what it is", |it| matches!(it, Command::Init { .. }))
        .await;
    assert_eq!(fixture.match_of(warm.id()).await.map(|it| clients(&it)), Some(vec![players[3].client_id()]));

    // A match can't ask for players to be matched.
    let asked = warm.runtime.request_matchmaking(players[3].client_id(), "duel").unwrap();
    assert_eq!(warm.exchange().await, [(Some(asked), "matchmaking.not_for_matches".to_owned())]);
    fails(&mut players[3], omgservers_api::interchange::MatchmakingFailureReason::Refused).await;

    // Two are matched, and their match doesn't start: they are matched again, on the tickets that
    // they have.
    for player in &players[..2] {
        lobby.requests_match(player, "duel").await;
    }
    let tickets = [players[0].ticket().await.unwrap(), players[1].ticket().await.unwrap()];
    assert_eq!(tickets[0].state, "starting");
    let dead = fixture.starting("duel").await;
    // A third one waits behind them.
    lobby.requests_match(&players[2], "duel").await;
    eventually("the match is given up", async || fixture.match_of(dead).await.is_none()).await;
    let again = fixture.starting("duel").await;
    let mut duel = loop {
        let next = fixture.next(Match).await;
        if next.id() == again {
            break next;
        }
    };
    let (one, two) = players.split_at_mut(1);
    duel.welcome(&mut one[0]).await;
    duel.welcome(&mut two[0]).await;
    for (player, before) in players.iter().zip(&tickets) {
        let now = player.ticket().await.unwrap();
        assert_eq!((now.id, now.state.as_str(), now.created), (before.id, "matched", before.created));
    }
    lobby.misses(&players[0]).await;
    lobby.misses(&players[1]).await;
    assert_eq!(players[2].ticket().await.unwrap().state, "waiting");

    // The seat of a kicked player goes to the next one at once, in the group that has become
    // free.
    let group = |details: &MatchDetails, client: ClientId| {
        details.players.iter().find(|it| it.client_id == client).map(|it| it.group_name.clone())
    };
    let before = fixture.match_of(duel.id()).await.unwrap();
    duel.runtime.kick(players[0].client_id()).unwrap();
    duel.misses(&players[0]).await;
    duel.welcome(&mut players[2]).await;
    lobby.welcome(&mut players[0]).await;
    let after = fixture.match_of(duel.id()).await.unwrap();
    assert_eq!(group(&after, players[2].client_id()), group(&before, players[0].client_id()));
    assert_eq!(clients(&after).len(), 2);
    assert_eq!(after.rationale.len(), 2, "why the two, and why the one who joined: {:?}", after.rationale);
}

impl PlayedFixture {
    /// The runtime of the only match of a mode, which is there soon.
    async fn starting(&self, mode: &str) -> RuntimeId {
        let begun = std::time::Instant::now();
        loop {
            let details = self.studio.details(self.deployment).await;
            if let Some(found) = details.match_refs.iter().find(|it| it.mode == mode && it.players == 2) {
                return found.runtime_id;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "deployment {}: no match of {mode}: {details:?}",
                self.deployment
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
