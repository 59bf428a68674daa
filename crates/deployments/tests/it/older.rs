//! What becomes of data that an older release wrote.

use omgservers_api::{DeploymentId, StageId, ids::Id as _};
use omgservers_core::{Db, ManualClock, Mint, Ownership};
use omgservers_deployments::{Deployments as _, SweepOrphans};
use omgservers_fixtures::Fixture;
use omgservers_testkit::{Foundation, TestDb};

const FIRST: &str = "2026-01-01-000000_create_deployments";

/// As the first release inserted a deployment.
async fn insert(test_db: &TestDb, stage: StageId, id: DeploymentId, second: u32) {
    let insert = format!(
        "insert into deployments.deployment (stage_id, id, tenant_id, project_id, version_id, config, images, created) \
         values ({stage}, {id}, {stage}, {stage}, {stage}, '{{}}', '[]', '2026-01-01 00:00:{second:02}+00')"
    );
    test_db.sql().await.execute(&insert, &[]).await.unwrap();
}

#[tokio::test]
async fn deployments_of_the_first_release_are_found_by_their_id_and_listed_by_age() {
    let test_db = TestDb::new(&[]).await;
    test_db.migrate_as_before("deployments", &[FIRST]).await;
    let db = test_db.pool(1).await;
    let mint = Mint::take(&db).await.unwrap();
    let stage: StageId = mint.root().unwrap();
    let (newest, older): (DeploymentId, DeploymentId) = (mint.root().unwrap(), mint.root().unwrap());
    insert(&test_db, stage, newest, 2).await;
    insert(&test_db, stage, older, 1).await;
    assert_eq!(Db::migrate(test_db.url(), &[omgservers_deployments::SCHEMA]).await.unwrap().len(), 1);
    let ownership = Ownership::take(&db, "test").await.unwrap();
    let fixture = Fixture::on(Foundation { test_db, db, mint, ownership, clock: ManualClock::default() });
    assert_eq!(fixture.deployments.newest(stage).await.unwrap().deployment.id, newest);
    assert_eq!(fixture.deployments.full(older).await.unwrap().deployment.stage_id, stage);
    let listed: Vec<DeploymentId> =
        fixture.deployments.of_stage(stage).await.unwrap().iter().map(|it| it.id).collect();
    assert_eq!(listed, [older, newest]);
    assert_eq!(fixture.deployments.page(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_an_older_release_deploys_in_migrated_data_is_listed_by_the_sweep() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let kept = fixture.deploy(path, version).await.unwrap();
    let later: Vec<DeploymentId> = (0..2).map(|_| fixture.foundation.mint.root().unwrap()).collect();
    let insert = "insert into deployments.deployment \
         (stage_id, id, tenant_id, project_id, version_id, config, images, created) \
         select stage_id, $1, tenant_id, project_id, version_id, config, images, created + $2 * interval '1 s' \
         from deployments.deployment where id = $3";
    let sql = fixture.foundation.test_db.sql().await;
    for (id, seconds) in later.iter().zip([1_f64, 2.0]) {
        sql.execute(insert, &[&id.get(), &seconds, &kept.get()]).await.unwrap();
    }
    fixture.foundation.clock.advance(std::time::Duration::from_secs(60));
    let mut sweep = SweepOrphans::new(fixture.deployments.clone());
    assert_eq!(omgservers_core::Worker::run_once(&mut sweep).await.unwrap().changed, 2);
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, later[1]);
    assert_eq!(fixture.deployments.of_stage(path.stage).await.unwrap().len(), 3);
}
