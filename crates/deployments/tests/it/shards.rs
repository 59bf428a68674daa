//! Deployments in several databases, one of which may be away.

use omgservers_api::{DeploymentId, Ref, Slot, ids::Id as _};
use omgservers_core::{Db, Existence, Shards, Worker as _};
use omgservers_deployments::{Deployments as _, PgDeployments, SCHEMA, SweepOrphans};
use omgservers_fixtures::{StagePath, support};
use omgservers_projects::Projects as _;
use omgservers_testkit::TestDb;

/// The homes of deployments are in a database of their own.
struct TwoDatabases {
    services: omgservers_fixtures::Fixture,
    homes: TestDb,
    deployments: PgDeployments,
    path: StagePath,
}

impl TwoDatabases {
    async fn new() -> Self {
        let (services, homes) = (omgservers_fixtures::Fixture::new().await, TestDb::new(&[SCHEMA]).await);
        let path = services.stage().await;
        let (lists, db) = (path.tenant.slot(), homes.pool(1).await);
        let deployments = services.deployments_on(shards(&services, db, lists));
        Self { services, homes, deployments, path }
    }

    /// The same while nobody answers for the homes.
    async fn dark(&self) -> PgDeployments {
        let away = Db::connect("postgres://nobody@127.0.0.1:1/away", 1).await.unwrap();
        self.services.deployments_on(shards(&self.services, away, self.path.tenant.slot()))
    }

    async fn deploy(&self) -> DeploymentId {
        let version = self.services.deployable_version(self.path).await;
        let StagePath { tenant, project, stage } = self.path;
        self.deployments.deploy(&support(), tenant, project, stage, version, None).await.unwrap()
    }

    async fn rows(test_db: &TestDb, table: &str) -> i64 {
        let count = format!("select count(*) from deployments.{table}");
        test_db.sql().await.query_one(&count, &[]).await.unwrap().get(0)
    }
}

/// The tenant's slot is in the first database, all others in the second.
fn shards(services: &omgservers_fixtures::Fixture, homes: Db, lists: Slot) -> Shards {
    Shards::several(services.foundation.db.clone(), vec![homes], move |slot| usize::from(slot != lists))
}

#[tokio::test]
async fn a_deployment_is_in_the_database_of_its_id_and_listed_in_that_of_its_stage() {
    let fixture = TwoDatabases::new().await;
    let (older, newer) = (fixture.deploy().await, fixture.deploy().await);
    assert_eq!(TwoDatabases::rows(&fixture.homes, "deployment").await, 2);
    assert_eq!(TwoDatabases::rows(&fixture.services.foundation.test_db, "listed").await, 2);
    assert_eq!(TwoDatabases::rows(&fixture.homes, "listed").await, 0);
    let of_stage = fixture.deployments.of_stage(fixture.path.stage).await.unwrap();
    assert_eq!(of_stage.iter().map(|it| it.id).collect::<Vec<_>>(), [older, newer]);
    let page = fixture.deployments.page(None, 10).await.unwrap();
    assert!(page.len() == 2 && page.iter().all(|it| it.1 == (it.0.deployment.id == newer)));
    assert!(fixture.deployments.retire(older).await.unwrap());
    let StagePath { tenant, project, stage } = fixture.path;
    assert!(
        fixture.services.projects.delete_stage(&support(), tenant, project, &Ref::Id(stage)).await.unwrap()
    );
    assert_eq!(SweepOrphans::new(fixture.deployments.clone()).run_once().await.unwrap().changed, 1);
    assert_eq!(TwoDatabases::rows(&fixture.homes, "deployment").await, 0);
    assert_eq!(TwoDatabases::rows(&fixture.services.foundation.test_db, "listed").await, 0);
}

#[tokio::test]
async fn nothing_is_deleted_while_a_database_is_away() {
    let fixture = TwoDatabases::new().await;
    let id = fixture.deploy().await;
    let dark = fixture.dark().await;
    let exist = dark.exist(&[id]).await.unwrap();
    assert_eq!(exist.get(&id), Some(&Existence::Unknown));
    assert!(dark.newest(fixture.path.stage).await.is_err(), "an older one must not take its place");
    assert!(SweepOrphans::new(dark.clone()).run_once().await.is_err());
    assert!(dark.pinned_digests().await.is_err(), "the registry would forget what fixture must keep");
    assert_eq!(TwoDatabases::rows(&fixture.homes, "deployment").await, 1);
    assert_eq!(TwoDatabases::rows(&fixture.services.foundation.test_db, "listed").await, 1);
    assert_eq!(fixture.deployments.newest(fixture.path.stage).await.unwrap().deployment.id, id);
}
