//! The rule language over HTTP: parties, attributes, expansions and timeouts. Tickets and matches
//! explain themselves, and a replay tries other rules on the recorded log. The test plays the
//! lobby; matches needn't start for it.

use std::{collections::BTreeMap, path::Path, process::Command};

use omgservers_api::{
    MatchId,
    details::{MatchDetails, TicketDetails},
    entrypoint::developer::{GetMatchDetailsRequest, GetTicketDetailsRequest},
    interchange::MatchmakingFailureReason as Why,
};
use omgservers_client::Session;
use omgservers_tests::{binary, eventually, run};
use serde_json::Value;

use crate::played::{Played, PlayedFixture, fails};

const RANKED: &str = r#"{"name":"ranked","min_players":4,"max_players":4,"groups":[
    {"name":"red","min_players":2,"max_players":2},{"name":"blue","min_players":2,"max_players":2}],
    "matchmaking":{"party":{"max_size":2},"rules":[
        {"kind":"range","name":"skill","attribute":"mmr","max_difference":100,
         "expansions":[{"after":5,"max_difference":500}]},
        {"kind":"equal","name":"region","attribute":"region"},
        {"kind":"team_balance","name":"fair","attribute":"mmr","max_difference":300}],
        "timeout":{"after":90,"then":"relax"}}}"#;

const TIMED: &str = r#"{"name":"impatient","min_players":2,"max_players":2,
     "groups":[{"name":"all","min_players":2,"max_players":2}],"matchmaking":{"timeout":{"after":1,"then":"fail"}}},
    {"name":"relaxed","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}],
     "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"mmr","max_difference":10}],
        "timeout":{"after":1,"then":"relax"}}},
    {"name":"royale","min_players":9,"max_players":9,"groups":[{"name":"all","min_players":9,"max_players":9}],
     "matchmaking":{"timeout":{"after":1,"then":"start_smaller","min_players":2}}}"#;

fn version(ranked: &str) -> String {
    format!(
        r#"{{"modes":[{ranked},{TIMED}],"deployment":{{"lobby":{{"cpu_limit":10}},"match":{{"cpu_limit":10}}}}}}"#
    )
}

/// A ticket request with attributes, perhaps for a party.
async fn request_match(lobby: &mut Played, players: &[&Session], mode: &str, mmr: f64, region: &str) {
    let clients: Vec<_> = players.iter().map(|it| it.client_id()).collect();
    let request = lobby.runtime.matchmaking(clients[0], mode).party(clients[1..].iter().copied());
    request.number("mmr", mmr).text("region", region).request().unwrap();
    assert_eq!(lobby.exchange().await, [], "the wish is refused");
}

impl PlayedFixture {
    /// The ticket of a player as its developer sees it.
    async fn ticket(&self, player: &Session) -> TicketDetails {
        let request = GetTicketDetailsRequest {
            tenant: self.studio.tenant.into(),
            deployment_id: self.deployment,
            ticket_id: None,
            client_id: Some(player.client_id()),
        };
        self.studio.developer.get_ticket_details(&request).await.unwrap().details
    }

    async fn match_details(&self, match_id: MatchId) -> MatchDetails {
        let (tenant, deployment_id) = (self.studio.tenant.into(), self.deployment);
        let request = GetMatchDetailsRequest { tenant, deployment_id, match_id };
        self.studio.developer.get_match_details(&request).await.unwrap().details
    }

    /// The match that a player is or will be in; it is found within seconds.
    async fn found(&self, player: &Session) -> MatchDetails {
        eventually("a match is found", async || self.ticket(player).await.match_id.is_some()).await;
        self.match_details(self.ticket(player).await.match_id.unwrap()).await
    }
}

/// By rule, how many tickets it keeps away.
fn rejected(why: &Value) -> BTreeMap<String, u64> {
    let entry = |it: &Value| (it["rule"].as_str().unwrap().to_owned(), it["tickets"].as_u64().unwrap());
    why["rejected_by"].as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn rules_decide_who_plays_with_whom_and_explain_why() {
    let folder = tempfile::Builder::new().prefix("omg").tempdir().unwrap();
    let log = folder.path().join("tickets");
    let setting = [("OMGSERVERS__MATCHES__TICKET_LOG", log.to_str().unwrap())];
    let mut fixture = PlayedFixture::new(&setting, &version(RANKED)).await;
    let (mut lobby, mut players) = fixture.in_lobby(5).await;

    // A party of two, a player near to it, one far from it, and one in another region.
    request_match(&mut lobby, &[&players[0], &players[1]], "ranked", 1500.0, "eu").await;
    request_match(&mut lobby, &[&players[2]], "ranked", 1500.0, "eu").await;
    request_match(&mut lobby, &[&players[3]], "ranked", 1900.0, "eu").await;
    request_match(&mut lobby, &[&players[4]], "ranked", 1500.0, "us").await;
    let ticket = fixture.ticket(&players[1]).await;
    assert_eq!((ticket.state.as_str(), ticket.clients.len()), ("waiting", 2));
    let why = ticket.explanation.expect("it says why it waits");
    assert_eq!((&why["pool"]["tickets"], &why["pool"]["players"]), (&4.into(), &5.into()), "{why}");
    assert_eq!(rejected(&why), [("region".to_owned(), 1), ("skill".to_owned(), 1)].into(), "{why}");
    assert_eq!(why["players_needed"], 1, "{why}");
    let next = &why["next_expansion"];
    assert!(next["in_ms"].as_u64().is_some_and(|it| it <= 5000), "{why}");
    assert_eq!(
        (&next["rules"][0]["rule"], &next["rules"][0]["max_difference"]),
        (&"skill".into(), &500.0.into())
    );
    assert_eq!(why["deadline"]["then"], "relax", "{why}");
    assert!(why["deadline"]["in_ms"].as_u64().is_some_and(|it| it > 60_000 && it <= 90_000), "{why}");
    let why = fixture.ticket(&players[4]).await.explanation.expect("it says why it waits");
    assert_eq!(
        rejected(&why),
        [("region".to_owned(), 3), ("skill".to_owned(), 1)].into(),
        "each counts: {why}"
    );

    // Their rule widens. The party stays together, and teams are as strong as each other as they
    // have to be.
    let found = fixture.found(&players[3]).await;
    assert_eq!((found.mode.as_str(), found.state.as_str(), found.players.len()), ("ranked", "starting", 4));
    let group = |player: &Session| {
        let here = found.players.iter().find(|it| it.client_id == player.client_id());
        here.map(|it| it.group_name.clone())
    };
    assert_eq!(group(&players[0]), group(&players[1]), "a party is in one group");
    assert_eq!(group(&players[2]), group(&players[3]));
    assert_ne!(group(&players[0]), group(&players[2]));
    assert_eq!(group(&players[4]), None);
    let why = &found.rationale[0];
    let reached: BTreeMap<&str, (f64, Option<f64>)> = why["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (rule["rule"].as_str().unwrap(), (rule["difference"].as_f64().unwrap(), rule["allowed"].as_f64()))
        })
        .collect();
    assert_eq!(reached["skill"], (400.0, Some(500.0)), "{why}");
    assert_eq!(reached["fair"], (200.0, Some(300.0)), "{why}");
    assert_eq!(reached["region"].0, 0.0, "{why}");
    let waited = why["tickets"].as_array().unwrap().iter().map(|it| it["waited_ms"].as_i64().unwrap());
    assert!(waited.clone().count() == 3 && waited.max() >= Some(5000), "{why}");
    assert_eq!(fixture.ticket(&players[4]).await.state, "waiting", "who is elsewhere waits on");
    assert!(players[4].cancel_matchmaking().await.unwrap());
    fails(&mut players[4], Why::Cancelled).await;

    times_out(&mut fixture, &mut lobby).await;
    drop(lobby);
    replays(&fixture, &log, folder.path());
}

/// The three outcomes of a ticket that waits too long.
async fn times_out(fixture: &mut PlayedFixture, lobby: &mut Played) {
    let mut players = Vec::new();
    for _ in 0..3 {
        let mut player = fixture.studio.player().await;
        lobby.welcome(&mut player).await;
        players.push(player);
    }
    request_match(lobby, &[&players[0]], "impatient", 0.0, "eu").await;
    fails(&mut players[0], Why::Timeout).await;

    request_match(lobby, &[&players[0]], "relaxed", 0.0, "eu").await;
    request_match(lobby, &[&players[1]], "relaxed", 9999.0, "eu").await;
    let relaxed = fixture.found(&players[0]).await;
    assert_eq!(relaxed.players.len(), 2);
    let skill = &relaxed.rationale[0]["rules"][0];
    assert_eq!((&skill["difference"], &skill["allowed"]), (&9999.0.into(), &Value::Null), "{skill}");

    // A second wish takes the place of the first: their match of two doesn't begin.
    request_match(lobby, &[&players[1]], "royale", 0.0, "eu").await;
    fails(&mut players[1], Why::Replaced).await;
    request_match(lobby, &[&players[2]], "royale", 0.0, "eu").await;
    let smaller = fixture.found(&players[2]).await;
    assert_eq!((smaller.players.len(), &smaller.rationale[0]["smaller"]), (2, &true.into()));
}

/// What was recorded, with the same rules and with others.
fn replays(played: &PlayedFixture, log: &Path, folder: &Path) {
    let log = log.join(format!("{}.jsonl", played.deployment));
    let replay = |name: &str, ranked: &str| -> Value {
        let config = folder.join(name);
        std::fs::write(&config, version(ranked)).unwrap();
        let mut command = Command::new(binary("omgservers-server", "omgservers"));
        command.args(["matchmaking", "replay", "--json", "--mode", "ranked", "--config"]);
        serde_json::from_str(&run(command.arg(config).arg(&log))).unwrap()
    };
    let same = replay("same.json", RANKED);
    let counts =
        |it: &Value| ["tickets", "matched", "cancelled", "matches"].map(|name| it[name].as_u64().unwrap());
    assert_eq!(counts(&same), [4, 3, 1, 1], "what happened: {same}");
    assert!(same["waited_ms"]["max"].as_f64().is_some_and(|it| it >= 5000.0), "{same}");
    let skill = |ticket: &Value| {
        let rules = ticket["rules"].as_array().unwrap();
        rules.iter().find(|it| it["rule"] == "skill").map(|it| it["max"].as_f64().unwrap())
    };
    assert_eq!(skill(&same), Some(400.0), "{same}");
    let wide = replay("wide.json", &RANKED.replace("\"max_difference\":100", "\"max_difference\":400"));
    assert_eq!(counts(&wide), [4, 3, 1, 1], "{wide}");
    assert!(wide["waited_ms"]["max"].as_f64().is_some_and(|it| it < 5000.0), "nobody waits for it: {wide}");
    let narrow = replay("narrow.json", &RANKED.replace("\"max_difference\":500", "\"max_difference\":100"));
    assert_eq!(counts(&narrow), [4, 0, 1, 0], "nobody is matched: {narrow}");
}
