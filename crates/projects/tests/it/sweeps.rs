use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use omgservers_api::Role;
use omgservers_core::{Worker as _, db::Fault};
use omgservers_projects::{Projects as _, SweepOrphans};

use crate::bed::{Bed, named, support, was_rung};

#[tokio::test]
async fn the_projects_of_a_deleted_tenant_follow_it() {
    let bed = Bed::new().await;
    let (gone, stays, id) = (bed.place().await, bed.place().await, bed.developer().await);
    let beside = bed.place_in(gone.tenant).await;
    for at in [gone, stays] {
        bed.projects.create_alias(&support(), at.tenant, at.project, "game").await.unwrap();
        bed.projects.create_stage_alias(&support(), at.tenant, at.stage, "prod").await.unwrap();
        bed.grant_all_but(id, at, &[]).await;
    }
    let mut sweep = bed.sweep_orphans();
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(!bed.were_heirs_woken().await && !was_rung(&bed.sweep_bell).await);

    assert!(bed.tenants.delete(&support(), &gone.tenant.into()).await.unwrap());
    assert!(was_rung(&bed.sweep_bell).await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(bed.were_heirs_woken().await);
    let found = bed.projects.exist(&[gone.project, beside.project, stays.project]).await.unwrap();
    assert_eq!(found, [stays.project].into());
    let found = bed.projects.stages_exist(&[gone.stage, beside.stage, stays.stage]).await.unwrap();
    assert_eq!(found, [stays.stage].into());
    assert_eq!(bed.projects.find(stays.tenant, &named("game")).await.unwrap(), stays.project);
    let (_, grants, _) = bed.projects.get(&support(), stays.tenant, stays.project).await.unwrap();
    assert_eq!(grants.len(), 3);

    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(!bed.were_heirs_woken().await);
}

#[tokio::test]
async fn more_projects_than_fit_in_a_batch_and_more_tenants_than_fit_on_a_page_go_in_one_run() {
    let bed = Bed::new().await;
    let crowded = bed.tenant().await;
    for _ in 0..101 {
        bed.place_in(crowded).await;
    }
    let mut tenants = vec![crowded];
    for _ in 0..500 {
        tenants.push(bed.place().await.tenant);
    }
    let stays = bed.place().await;
    for tenant in tenants {
        assert!(bed.tenants.delete(&support(), &tenant.into()).await.unwrap());
    }
    assert_eq!(bed.sweep_orphans().run_once().await.unwrap().changed, 601);
    assert!(bed.projects.find(stays.tenant, &stays.project.into()).await.is_ok());
}

#[tokio::test]
async fn a_tenant_whose_projects_can_not_be_deleted_does_not_stop_the_others() {
    let bed = Bed::new().await;
    for _ in 0..3 {
        let tenant = bed.place().await.tenant;
        assert!(bed.tenants.delete(&support(), &tenant.into()).await.unwrap());
    }
    let armed = AtomicBool::new(true);
    let faults = Arc::new(move || armed.swap(false, Ordering::SeqCst).then_some(Fault::BeforeCommit));
    let mut sweep = SweepOrphans { db: bed.ground.db.with_faults(faults), ..bed.sweep_orphans() };
    assert!(sweep.run_once().await.is_err(), "the failure is told");
    assert!(bed.were_heirs_woken().await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "the other two went before");
}

#[tokio::test]
async fn the_permissions_of_a_deleted_user_go_and_those_of_others_stay() {
    let bed = Bed::new().await;
    let at = bed.place().await;
    let (leaves, stays, visits) = (bed.developer().await, bed.developer().await, bed.developer().await);
    for id in [leaves, stays] {
        bed.grant_all_but(id, at, &[]).await;
    }
    let of_projects = ["STAGE_MANAGER", "VERSION_MANAGER", "PROJECT_VIEWER"];
    bed.grant_all_but(visits, at, &of_projects).await;
    let mut sweep = bed.sweep_permissions();
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    for id in [leaves, visits] {
        assert!(bed.accounts.delete(&support(), Role::Developer, &id.into()).await.unwrap());
    }
    assert_eq!(sweep.run_once().await.unwrap().changed, 5 + 2);
    let (_, grants, _) = bed.projects.get(&support(), at.tenant, at.project).await.unwrap();
    assert!(grants.len() == 3 && grants.iter().all(|it| it.user_id == stays));
    let (_, grants) = bed.projects.get_stage(&support(), at.tenant, at.project, at.stage).await.unwrap();
    assert!(grants.len() == 2 && grants.iter().all(|it| it.user_id == stays));
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
}
