use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_api::{DeploymentId, Ref, StagePermission, ids::Id as _, problem::codes};
use omgservers_core::{Worker as _, db::Fault, existing};
use omgservers_deployments::{Deployments as _, SweepOrphans, problems};
use omgservers_fixtures::{Fixture, StagePath, support};
use omgservers_projects::Projects as _;
use omgservers_tenants::Tenants as _;
use omgservers_versions::Versions as _;

use crate::fixture::{no_managers, strangers, sweep_projects};

#[tokio::test]
async fn a_deleted_deployment_is_gone_at_once_and_from_memory() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let id = fixture.deploy(path, version).await.unwrap();
    fixture.deployments.full(id).await.unwrap();
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    let manager = fixture.developer_with(path, &[], &[StagePermission::DeploymentManager]).await;
    assert!(fixture.deployments.delete(&manager, path.tenant, id).await.unwrap());
    assert!(!fixture.changed_deployments.take_due(9).is_empty(), "what runs of it must follow");
    assert!(fixture.deployments.full(id).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(fixture.deployments.get(&support(), path.tenant, id).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(fixture.deployments.of_stage(path.stage).await.unwrap(), []);
    assert!(
        !fixture.deployments.delete(&manager, path.tenant, id).await.unwrap(),
        "there is nothing to delete"
    );
}

#[tokio::test]
async fn nobody_else_deletes_a_deployment() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let version = fixture.deployable_version(path).await;
    let id = fixture.deploy(path, version).await.unwrap();
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    for caller in no_managers(&fixture, path).await {
        let refused = fixture.deployments.delete(&caller, path.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in strangers() {
        let refused = fixture.deployments.delete(&caller, path.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert!(!fixture.deployments.delete(&support(), other.tenant, id).await.unwrap(), "not of that tenant");
    assert_eq!(fixture.deployments.full(id).await.unwrap().deployment.id, id);
    assert!(fixture.changed_deployments.take_due(9).is_empty());
}

#[tokio::test]
async fn a_failed_deployment_or_deletion_leaves_nothing_half_done() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let id = fixture.deploy(path, version).await.unwrap();
    let faulty =
        fixture.deployments_on(fixture.foundation.db.with_faults(Arc::new(|| Some(Fault::BeforeCommit))));
    let StagePath { tenant, project, stage } = path;
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    assert!(faulty.delete(&support(), tenant, id).await.is_err());
    assert_eq!(fixture.deployments.newest(stage).await.unwrap().deployment.id, id);
    assert_eq!(fixture.deployments.of_stage(stage).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deployment_or_deletion_whose_answer_was_lost_has_worked() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    let version = fixture.deployable_version(StagePath { tenant, project, stage }).await;
    let faulty =
        fixture.deployments_on(fixture.foundation.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    assert!(fixture.deployments.newest(stage).await.unwrap_err().is(problems::NONE), "it isn't listed");
    let mut sweep = SweepOrphans::new(fixture.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "it may still be under way");
    fixture.foundation.clock.advance(Duration::from_secs(21));
    assert_eq!(sweep.run_once().await.unwrap().changed, 1);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    let id = faulty.newest(stage).await.unwrap().deployment.id;
    assert!(faulty.delete(&support(), tenant, id).await.is_err());
    assert!(faulty.full(id).await.unwrap_err().is(problems::NOT_FOUND), "not even from memory");
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
}

#[tokio::test]
async fn a_deployment_that_broke_off_and_was_superseded_is_deleted() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let StagePath { tenant, project, stage } = path;
    let faulty = fixture.deployments_on(failing(&fixture, 2));
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    assert_eq!(rows(&fixture).await, (1, 0), "the deployment is there and not listed");
    fixture.foundation.clock.advance(Duration::from_secs(1));
    let kept = fixture.deploy(path, version).await.unwrap();
    fixture.foundation.clock.advance(Duration::from_secs(21));
    assert_eq!(SweepOrphans::new(fixture.deployments.clone()).run_once().await.unwrap().changed, 1);
    assert_eq!(rows(&fixture).await, (1, 1));
    assert_eq!(fixture.deployments.newest(stage).await.unwrap().deployment.id, kept);
}

#[tokio::test]
async fn a_listed_deployment_that_broke_off_stays_though_it_was_superseded() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let StagePath { tenant, project, stage } = path;
    let faulty = fixture.deployments_on(failing(&fixture, 3));
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    let listed = fixture.deployments.newest(stage).await.unwrap().deployment.id;
    fixture.foundation.clock.advance(Duration::from_secs(1));
    fixture.deploy(path, version).await.unwrap();
    fixture.foundation.clock.advance(Duration::from_secs(21));
    assert_eq!(SweepOrphans::new(fixture.deployments.clone()).run_once().await.unwrap().changed, 1);
    let page = fixture.deployments.page(None, 10).await.unwrap();
    assert!(page.iter().any(|it| it.0.deployment.id == listed && !it.1), "its clients stay");
    assert!(fixture.deployments.retire(listed).await.unwrap());
    assert_eq!(rows(&fixture).await, (1, 1));
}

#[tokio::test]
async fn a_deletion_that_broke_off_gives_the_stage_back_to_the_older_one() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let older = fixture.deploy(path, version).await.unwrap();
    let newer = fixture.deploy(path, version).await.unwrap();
    let faulty = fixture.deployments_on(failing(&fixture, 2));
    assert!(faulty.delete(&support(), path.tenant, newer).await.unwrap());
    assert_eq!(rows(&fixture).await, (1, 2), "it is still listed");
    let of_stage = fixture.deployments.of_stage(path.stage).await.unwrap();
    assert_eq!(of_stage.iter().map(|it| it.id).collect::<Vec<_>>(), [older]);
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, older);
    assert_eq!(rows(&fixture).await, (1, 1), "the reader has unlisted it");
}

#[tokio::test]
async fn a_deletion_of_an_older_deployment_that_broke_off_is_finished_by_the_sweep() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let older = fixture.deploy(path, version).await.unwrap();
    let newer = fixture.deploy(path, version).await.unwrap();
    let faulty = fixture.deployments_on(failing(&fixture, 2));
    assert!(faulty.delete(&support(), path.tenant, older).await.unwrap());
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, newer);
    assert_eq!(rows(&fixture).await, (1, 2), "the newest is read, and nobody reads beyond it");
    let mut sweep = SweepOrphans::new(fixture.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 1);
    assert_eq!(rows(&fixture).await, (1, 1));
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "the one that exists stays listed");
    assert_eq!(rows(&fixture).await, (1, 1));
}

/// A database whose transaction of this number fails before its commit.
fn failing(fixture: &Fixture, number: usize) -> omgservers_core::Db {
    let count = AtomicUsize::new(0);
    let fault = move || (count.fetch_add(1, Ordering::SeqCst) + 1 == number).then_some(Fault::BeforeCommit);
    fixture.foundation.db.with_faults(Arc::new(fault))
}

/// How many deployments there are, and how many are listed.
async fn rows(fixture: &Fixture) -> (i64, i64) {
    let client = fixture.foundation.test_db.sql().await;
    let count =
        "select (select count(*) from deployments.deployment), (select count(*) from deployments.listed)";
    let row = client.query_one(count, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn which_deployments_exist_is_answered_for_many_at_once() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let (one, two) =
        (fixture.deploy(path, version).await.unwrap(), fixture.deploy(path, version).await.unwrap());
    let unknown = DeploymentId::from_i64(i64::MAX).unwrap();
    assert_eq!(
        existing(&fixture.deployments.exist(&[one, unknown, two]).await.unwrap()),
        BTreeSet::from([one, two])
    );
    assert_eq!(existing(&fixture.deployments.exist(&[]).await.unwrap()), BTreeSet::new());
}

#[tokio::test]
async fn deployments_go_with_their_stage_and_others_stay() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let stage = fixture.projects.create_stage(&support(), path.tenant, path.project).await.unwrap();
    let gone = [fixture.deploy(path, version).await.unwrap(), fixture.deploy(path, version).await.unwrap()];
    let kept = fixture.deploy(StagePath { stage, ..path }, version).await.unwrap();
    fixture.deployments.full(gone[0]).await.unwrap();
    let mut sweep = SweepOrphans::new(fixture.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    let StagePath { tenant, project, stage } = path;
    assert!(fixture.projects.delete_stage(&support(), tenant, project, &Ref::Id(stage)).await.unwrap());
    fixture.changed_deployments.take_due(9);
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    assert!(fixture.deployments.full(gone[0]).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(existing(&fixture.deployments.exist(&gone).await.unwrap()).is_empty());
    assert_eq!(fixture.deployments.full(kept).await.unwrap().deployment.id, kept);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "a second run finds nothing to do");
    assert!(fixture.changed_deployments.take_due(9).is_empty());
}

#[tokio::test]
async fn deployments_go_with_their_version_and_others_stay() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let (old, new) = (fixture.deployable_version(path).await, fixture.deployable_version(path).await);
    let kept = fixture.deploy(path, old).await.unwrap();
    let gone = fixture.deploy(path, new).await.unwrap();
    assert!(fixture.versions.delete(&support(), path.tenant, new).await.unwrap());
    let mut sweep = SweepOrphans::new(fixture.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 1);
    assert!(fixture.deployments.full(gone).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, kept);
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_stage_whose_deployments_can_not_be_deleted() {
    let fixture = Fixture::new().await;
    for path in [fixture.stage().await, fixture.stage().await, fixture.stage().await] {
        let version = fixture.deployable_version(path).await;
        fixture.deploy(path, version).await.unwrap();
        let StagePath { tenant, project, stage } = path;
        assert!(fixture.projects.delete_stage(&support(), tenant, project, &Ref::Id(stage)).await.unwrap());
    }
    let first = std::sync::atomic::AtomicBool::new(true);
    let once = move || first.swap(false, std::sync::atomic::Ordering::SeqCst).then_some(Fault::BeforeCommit);
    let faulty = fixture.deployments_on(fixture.foundation.db.with_faults(Arc::new(once)));
    let mut sweep = SweepOrphans::new(faulty);
    assert!(sweep.run_once().await.is_err(), "the failure isn't hidden");
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "only the one that failed was left");
}

#[tokio::test]
async fn everything_goes_with_the_tenant() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let (version, kept_version) =
        (fixture.deployable_version(path).await, fixture.deployable_version(other).await);
    let gone = fixture.deploy(path, version).await.unwrap();
    let kept = fixture.deploy(other, kept_version).await.unwrap();
    assert!(fixture.tenants.delete(&support(), &Ref::Id(path.tenant)).await.unwrap());
    sweep_projects(&fixture).await;
    assert_eq!(
        omgservers_versions::SweepOrphans::new(fixture.versions.clone()).run_once().await.unwrap().changed,
        1
    );
    assert_eq!(SweepOrphans::new(fixture.deployments.clone()).run_once().await.unwrap().changed, 1);
    assert!(fixture.deployments.full(gone).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(existing(&fixture.versions.exist(&[version]).await.unwrap()).is_empty());
    assert!(existing(&fixture.projects.stages_exist(&[path.stage]).await.unwrap()).is_empty());
    assert_eq!(fixture.deployments.newest(other.stage).await.unwrap().deployment.id, kept);
}
