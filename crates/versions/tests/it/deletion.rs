use std::sync::Arc;

use omgservers_api::{ProjectPermission, Ref, StagePermission, problem::codes, roles::ImageQualifier};
use omgservers_core::{Worker as _, db::Fault, existing};
use omgservers_fixtures::{Fixture, support, was_rung};
use omgservers_projects::Projects as _;
use omgservers_versions::{Repository, SweepOrphans, Versions as _, problems};

use crate::fixture::{strangers, unpermitted};

#[tokio::test]
async fn a_deleted_version_is_gone_at_once_with_its_images_and_from_memory() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let (id, kept) = (fixture.version(path).await, fixture.version(path).await);
    let into =
        Repository { tenant: path.tenant, project: path.project, qualifier: ImageQualifier::Universal };
    let digest = format!("sha256:{}", "0".repeat(64));
    fixture.versions.attach_image(&into.to_string(), &id.to_string(), &digest).await.unwrap();
    fixture.versions.config(id).await.unwrap();
    let manager =
        fixture.developer_with(path, &[ProjectPermission::VersionManager], StagePermission::ALL).await;
    assert!(!was_rung(&fixture.version_deleted).await);
    assert!(fixture.versions.delete(&manager, path.tenant, id).await.unwrap());
    assert!(was_rung(&fixture.version_deleted).await, "its deployments must follow");
    assert!(fixture.versions.config(id).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(fixture.versions.get(&support(), path.tenant, id).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(fixture.versions.images(id).await.unwrap(), []);
    assert!(!fixture.versions.delete(&manager, path.tenant, id).await.unwrap(), "there is nothing to delete");
    assert_eq!(fixture.versions.config(kept).await.unwrap().id, kept);
}

#[tokio::test]
async fn nobody_else_deletes_a_version() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    for caller in unpermitted(&fixture, path, ProjectPermission::VersionManager).await {
        let refused = fixture.versions.delete(&caller, path.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in strangers() {
        assert!(fixture.versions.delete(&caller, path.tenant, id).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    let other = fixture.stage().await;
    assert!(
        !fixture.versions.delete(&support(), other.tenant, id).await.unwrap(),
        "not a version of that tenant"
    );
    assert_eq!(fixture.versions.config(id).await.unwrap().id, id);
    assert!(!was_rung(&fixture.version_deleted).await);
}

#[tokio::test]
async fn a_deletion_that_failed_leaves_everything_and_works_the_next_time() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let faulty =
        fixture.versions_on(&fixture.foundation.db.with_faults(Arc::new(|| Some(Fault::BeforeCommit))));
    assert!(faulty.delete(&support(), path.tenant, id).await.is_err());
    assert!(existing(&fixture.versions.exist(&[id]).await.unwrap()).contains(&id));
    assert!(fixture.versions.delete(&support(), path.tenant, id).await.unwrap());
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_has_worked() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let faulty =
        fixture.versions_on(&fixture.foundation.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    faulty.config(id).await.unwrap();
    assert!(faulty.delete(&support(), path.tenant, id).await.is_err());
    assert!(faulty.config(id).await.unwrap_err().is(problems::NOT_FOUND), "not even from memory");
    assert!(was_rung(&fixture.version_deleted).await);
}

#[tokio::test]
async fn versions_go_with_their_project_and_others_stay() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let (gone, kept) =
        ([fixture.version(path).await, fixture.version(path).await], fixture.version(other).await);
    fixture.versions.config(gone[0]).await.unwrap();
    let mut sweep = SweepOrphans::new(fixture.versions.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(fixture.projects.delete(&support(), path.tenant, &Ref::Id(path.project)).await.unwrap());
    assert!(!was_rung(&fixture.version_deleted).await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(was_rung(&fixture.version_deleted).await);
    assert!(fixture.versions.config(gone[0]).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(existing(&fixture.versions.exist(&gone).await.unwrap()).is_empty());
    assert_eq!(fixture.versions.config(kept).await.unwrap().id, kept);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "a second run finds nothing to do");
    assert!(!was_rung(&fixture.version_deleted).await);
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_project_whose_versions_can_not_be_deleted() {
    let fixture = Fixture::new().await;
    let paths = [fixture.stage().await, fixture.stage().await, fixture.stage().await];
    for path in paths {
        fixture.version(path).await;
        assert!(fixture.projects.delete(&support(), path.tenant, &Ref::Id(path.project)).await.unwrap());
    }
    let first = std::sync::atomic::AtomicBool::new(true);
    let once = move || first.swap(false, std::sync::atomic::Ordering::SeqCst).then_some(Fault::BeforeCommit);
    let mut sweep =
        SweepOrphans::new(fixture.versions_on(&fixture.foundation.db.with_faults(Arc::new(once))));
    assert!(sweep.run_once().await.is_err(), "the failure isn't hidden");
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "only the one that failed was left");
}
