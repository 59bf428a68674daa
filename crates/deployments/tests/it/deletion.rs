use std::{collections::HashSet, sync::Arc};

use omgservers_api::{DeploymentId, Ref, StagePermission, ids::Id as _, problem::codes};
use omgservers_core::{Worker as _, db::Fault};
use omgservers_deployments::{Deployments as _, SweepOrphans, problems};

use crate::bed::{Bed, Place, strangers, support, was_rung};

#[tokio::test]
async fn a_deleted_deployment_is_gone_at_once_and_from_memory() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    let id = bed.deploy(place, version).await.unwrap();
    bed.deployments.full(id).await.unwrap();
    assert!(was_rung(&bed.heir).await);
    let manager = bed.developer(place, &[], &[StagePermission::DeploymentManager]).await;
    assert!(bed.deployments.delete(&manager, place.tenant, id).await.unwrap());
    assert!(was_rung(&bed.heir).await, "what runs of it must follow");
    assert!(bed.deployments.full(id).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(bed.deployments.get(&support(), place.tenant, id).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(bed.deployments.of_stage(place.stage).await.unwrap(), []);
    assert!(!bed.deployments.delete(&manager, place.tenant, id).await.unwrap(), "there is nothing to delete");
}

#[tokio::test]
async fn nobody_else_deletes_a_deployment() {
    let bed = Bed::new().await;
    let (place, other) = (bed.place().await, bed.place().await);
    let version = bed.ready(place).await;
    let id = bed.deploy(place, version).await.unwrap();
    assert!(was_rung(&bed.heir).await);
    for caller in bed.no_managers(place).await {
        let refused = bed.deployments.delete(&caller, place.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in strangers() {
        let refused = bed.deployments.delete(&caller, place.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert!(!bed.deployments.delete(&support(), other.tenant, id).await.unwrap(), "not of that tenant");
    assert_eq!(bed.deployments.full(id).await.unwrap().deployment.id, id);
    assert!(!was_rung(&bed.heir).await);
}

#[tokio::test]
async fn a_failed_deployment_or_deletion_leaves_nothing_half_done() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    let id = bed.deploy(place, version).await.unwrap();
    let faulty = bed.deployments_on(&bed.ground.db.with_faults(Arc::new(|| Some(Fault::BeforeCommit))));
    let Place { tenant, project, stage } = place;
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    assert!(faulty.delete(&support(), tenant, id).await.is_err());
    assert_eq!(bed.deployments.newest(stage).await.unwrap().deployment.id, id);
    assert_eq!(bed.deployments.of_stage(stage).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deployment_or_deletion_whose_answer_was_lost_has_worked() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    let version = bed.ready(Place { tenant, project, stage }).await;
    let faulty = bed.deployments_on(&bed.ground.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    assert!(faulty.deploy(&support(), tenant, project, stage, version, None).await.is_err());
    assert!(was_rung(&bed.heir).await);
    let id = faulty.newest(stage).await.unwrap().deployment.id;
    assert!(faulty.delete(&support(), tenant, id).await.is_err());
    assert!(faulty.full(id).await.unwrap_err().is(problems::NOT_FOUND), "not even from memory");
    assert!(was_rung(&bed.heir).await);
}

#[tokio::test]
async fn which_deployments_exist_is_told_for_many_at_once() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    let (one, two) = (bed.deploy(place, version).await.unwrap(), bed.deploy(place, version).await.unwrap());
    let unknown = DeploymentId::from_i64(i64::MAX).unwrap();
    assert_eq!(bed.deployments.exist(&[one, unknown, two]).await.unwrap(), HashSet::from([one, two]));
    assert_eq!(bed.deployments.exist(&[]).await.unwrap(), HashSet::new());
}

#[tokio::test]
async fn deployments_go_with_their_stage_and_others_stay() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    let stage = bed.projects.create_stage(&support(), place.tenant, place.project).await.unwrap();
    let gone = [bed.deploy(place, version).await.unwrap(), bed.deploy(place, version).await.unwrap()];
    let kept = bed.deploy(Place { stage, ..place }, version).await.unwrap();
    bed.deployments.full(gone[0]).await.unwrap();
    let mut sweep = SweepOrphans::new(bed.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    let Place { tenant, project, stage } = place;
    assert!(bed.projects.delete_stage(&support(), tenant, project, &Ref::Id(stage)).await.unwrap());
    was_rung(&bed.heir).await;
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(was_rung(&bed.heir).await);
    assert!(bed.deployments.full(gone[0]).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(bed.deployments.exist(&gone).await.unwrap().is_empty());
    assert_eq!(bed.deployments.full(kept).await.unwrap().deployment.id, kept);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0, "a second run finds nothing to do");
    assert!(!was_rung(&bed.heir).await);
}

#[tokio::test]
async fn deployments_go_with_their_version_and_others_stay() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let (old, new) = (bed.ready(place).await, bed.ready(place).await);
    let kept = bed.deploy(place, old).await.unwrap();
    let gone = bed.deploy(place, new).await.unwrap();
    assert!(bed.versions.delete(&support(), place.tenant, new).await.unwrap());
    let mut sweep = SweepOrphans::new(bed.deployments.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 1);
    assert!(bed.deployments.full(gone).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(bed.deployments.newest(place.stage).await.unwrap().deployment.id, kept);
}

#[tokio::test]
async fn a_sweep_goes_on_after_a_stage_whose_deployments_can_not_be_deleted() {
    let bed = Bed::new().await;
    for place in [bed.place().await, bed.place().await, bed.place().await] {
        let version = bed.ready(place).await;
        bed.deploy(place, version).await.unwrap();
        let Place { tenant, project, stage } = place;
        assert!(bed.projects.delete_stage(&support(), tenant, project, &Ref::Id(stage)).await.unwrap());
    }
    let first = std::sync::atomic::AtomicBool::new(true);
    let once = move || first.swap(false, std::sync::atomic::Ordering::SeqCst).then_some(Fault::BeforeCommit);
    let faulty = bed.deployments_on(&bed.ground.db.with_faults(Arc::new(once)));
    let mut sweep = SweepOrphans::new(faulty);
    assert!(sweep.run_once().await.is_err(), "the failure isn't hidden");
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "only the one that failed was left");
}

#[tokio::test]
async fn everything_goes_with_the_tenant() {
    let bed = Bed::new().await;
    let (place, other) = (bed.place().await, bed.place().await);
    let (version, kept_version) = (bed.ready(place).await, bed.ready(other).await);
    let gone = bed.deploy(place, version).await.unwrap();
    let kept = bed.deploy(other, kept_version).await.unwrap();
    assert!(bed.tenants.delete(&support(), &Ref::Id(place.tenant)).await.unwrap());
    bed.sweep_projects().await;
    assert_eq!(
        omgservers_versions::SweepOrphans::new(bed.pg_versions.clone()).run_once().await.unwrap().changed,
        1
    );
    assert_eq!(SweepOrphans::new(bed.deployments.clone()).run_once().await.unwrap().changed, 1);
    assert!(bed.deployments.full(gone).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(bed.versions.exist(&[version]).await.unwrap().is_empty());
    assert!(bed.projects.stages_exist(&[place.stage]).await.unwrap().is_empty());
    assert_eq!(bed.deployments.newest(other.stage).await.unwrap().deployment.id, kept);
}
