use std::sync::Arc;

use omgservers_api::{ProjectPermission, Ref, problem::codes, roles::ImageQualifier};
use omgservers_core::{Worker as _, db::Fault};
use omgservers_versions::{Repository, SweepOrphans, Versions as _, problems};

use crate::bed::{Bed, strangers, support, was_rung};

#[tokio::test]
async fn a_deleted_version_is_gone_at_once_with_its_images_and_from_memory() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let (id, kept) = (bed.version(place).await, bed.version(place).await);
    let into =
        Repository { tenant: place.tenant, project: place.project, qualifier: ImageQualifier::Universal };
    let digest = format!("sha256:{}", "0".repeat(64));
    bed.versions.attach_image(&into.to_string(), &id.to_string(), &digest).await.unwrap();
    bed.versions.config(id).await.unwrap();
    let manager = bed.developer(place, &[ProjectPermission::VersionManager]).await;
    assert!(!was_rung(&bed.heir).await);
    assert!(bed.versions.delete(&manager, place.tenant, id).await.unwrap());
    assert!(was_rung(&bed.heir).await, "its deployments must follow");
    assert!(bed.versions.config(id).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(bed.versions.get(&support(), place.tenant, id).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(bed.versions.images(id).await.unwrap(), []);
    assert!(!bed.versions.delete(&manager, place.tenant, id).await.unwrap(), "there is nothing to delete");
    assert_eq!(bed.versions.config(kept).await.unwrap().id, kept);
}

#[tokio::test]
async fn nobody_else_deletes_a_version() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let id = bed.version(place).await;
    for caller in bed.unpermitted(place, ProjectPermission::VersionManager).await {
        let refused = bed.versions.delete(&caller, place.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in strangers() {
        assert!(bed.versions.delete(&caller, place.tenant, id).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    let other = bed.place().await;
    assert!(
        !bed.versions.delete(&support(), other.tenant, id).await.unwrap(),
        "not a version of that tenant"
    );
    assert_eq!(bed.versions.config(id).await.unwrap().id, id);
    assert!(!was_rung(&bed.heir).await);
}

#[tokio::test]
async fn a_deletion_that_failed_leaves_everything_and_works_the_next_time() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let id = bed.version(place).await;
    let faulty = bed.versions_on(&bed.ground.db.with_faults(Arc::new(|| Some(Fault::BeforeCommit))));
    assert!(faulty.delete(&support(), place.tenant, id).await.is_err());
    assert!(bed.versions.exist(&[id]).await.unwrap().contains(&id));
    assert!(bed.versions.delete(&support(), place.tenant, id).await.unwrap());
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_has_worked() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let id = bed.version(place).await;
    let faulty = bed.versions_on(&bed.ground.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    faulty.config(id).await.unwrap();
    assert!(faulty.delete(&support(), place.tenant, id).await.is_err());
    assert!(faulty.config(id).await.unwrap_err().is(problems::NOT_FOUND), "not even from memory");
    assert!(was_rung(&bed.heir).await);
}

#[tokio::test]
async fn versions_go_with_their_project_and_others_stay() {
    let bed = Bed::new().await;
    let (place, other) = (bed.place().await, bed.place().await);
    let (gone, kept) = ([bed.version(place).await, bed.version(place).await], bed.version(other).await);
    bed.versions.config(gone[0]).await.unwrap();
    let mut sweep = SweepOrphans::new(bed.versions.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(bed.projects.delete(&support(), place.tenant, &Ref::Id(place.project)).await.unwrap());
    assert!(!was_rung(&bed.heir).await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(was_rung(&bed.heir).await);
    assert!(bed.versions.config(gone[0]).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(bed.versions.exist(&gone).await.unwrap().is_empty());
    assert_eq!(bed.versions.config(kept).await.unwrap().id, kept);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "a second run finds nothing to do");
    assert!(!was_rung(&bed.heir).await);
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_project_whose_versions_can_not_be_deleted() {
    let bed = Bed::new().await;
    let places = [bed.place().await, bed.place().await, bed.place().await];
    for place in places {
        bed.version(place).await;
        assert!(bed.projects.delete(&support(), place.tenant, &Ref::Id(place.project)).await.unwrap());
    }
    let first = std::sync::atomic::AtomicBool::new(true);
    let once = move || first.swap(false, std::sync::atomic::Ordering::SeqCst).then_some(Fault::BeforeCommit);
    let mut sweep = SweepOrphans::new(bed.versions_on(&bed.ground.db.with_faults(Arc::new(once))));
    assert!(sweep.run_once().await.is_err(), "the failure isn't hidden");
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "only the one that failed was left");
}
