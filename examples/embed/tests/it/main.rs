//! What the example does, on a database of the test's own.

use std::sync::Arc;

use omgservers_api::Role;
use omgservers_embed::{
    Base, EMBEDDER, SCHEMAS, StageIds, accounts, deployments,
    matchmaking::{self, Left},
    messaging, players, projects, runtimes, tenants, versions,
};
use omgservers_runtimes::{FakeHost, Runtimes as _};
use omgservers_testkit::TestDb;

#[tokio::test]
async fn a_player_who_signed_up_enters_a_deployment_and_keeps_a_profile() {
    let database = TestDb::new(SCHEMAS).await;
    let base = Base::new(database.url()).await.unwrap();
    let (_, _, profile) = omgservers_embed::accounts_to_players(&base).await.unwrap();
    assert_eq!(&*profile, r#"{"level":7}"#);
}

#[tokio::test]
async fn every_domain_crate_works_without_the_server() {
    let database = TestDb::new(SCHEMAS).await;
    let base = Base::new(database.url()).await.unwrap();
    let accounts = accounts::build(&base);
    let tenants = tenants::build(&base, &accounts);
    let projects = projects::build(&base, &accounts, &tenants);
    let versions = versions::build(&base, &projects);
    let deployments = deployments::build(&base, &projects, &versions);
    let players = players::build(&base, &tenants, &projects, &deployments);
    let messaging = messaging::build(&base).await.unwrap();
    let host = FakeHost::new();
    let runtimes = runtimes::build(&base, host.clone()).await.unwrap();

    let tenant = tenants.create(&EMBEDDER).await.unwrap();
    let (project, stage) = projects.create(&EMBEDDER, tenant).await.unwrap();
    let at = StageIds { tenant, project, stage };
    let version = versions::with_image(&*versions, at).await.unwrap();
    let deployment = deployments.deploy(&EMBEDDER, tenant, project, stage, version, None).await.unwrap();
    let user = accounts.create(&EMBEDDER, Role::Player).await.unwrap().id;

    let (client, runtime) = messaging::assign(&base, &*messaging, user, deployment).await.unwrap();
    assert_eq!(messaging.client(client).unwrap().route, Some(runtime));
    assert_eq!(messaging.clients_of(runtime), [client]);

    let lobby = runtimes::start_lobby(&base, &runtimes, tenant, deployment).await.unwrap();
    assert_eq!(host.running(lobby).len(), 1);
    assert_eq!(runtimes.of_deployment(deployment).await.unwrap().len(), 1);

    let left = Left {
        projects,
        versions,
        deployments,
        messaging: Arc::clone(&messaging),
        runtimes: Arc::new(runtimes),
        players,
    };
    let matchmaking = matchmaking::build(&base, left);
    let session = matchmaking::open_session(&*matchmaking, user, at).await.unwrap();
    assert_eq!(messaging.client(session).unwrap().user, user);
}
