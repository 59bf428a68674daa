use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use omgservers_accounts::Accounts as _;
use omgservers_api::Role;
use omgservers_core::{Worker as _, db::Fault, existing};
use omgservers_fixtures::{Fixture, alias, support, was_rung};
use omgservers_projects::{Projects as _, SweepOrphans};
use omgservers_tenants::Tenants as _;

use crate::fixture::{sweep_orphans, sweep_permissions};

#[tokio::test]
async fn the_projects_of_a_deleted_tenant_follow_it() {
    let fixture = Fixture::new().await;
    let (gone, stays, id) = (fixture.stage().await, fixture.stage().await, fixture.developer().await);
    let beside = fixture.stage_in(gone.tenant).await;
    for at in [gone, stays] {
        fixture.projects.create_alias(&support(), at.tenant, at.project, "game").await.unwrap();
        fixture.projects.create_stage_alias(&support(), at.tenant, at.stage, "prod").await.unwrap();
        fixture.grant_all_but(id, at, &[]).await;
    }
    let mut sweep = sweep_orphans(&fixture);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(!fixture.was_project_deletion_announced().await && !was_rung(&fixture.tenant_deleted).await);

    assert!(fixture.tenants.delete(&support(), &gone.tenant.into()).await.unwrap());
    assert!(was_rung(&fixture.tenant_deleted).await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    assert!(fixture.was_project_deletion_announced().await);
    let found =
        existing(&fixture.projects.exist(&[gone.project, beside.project, stays.project]).await.unwrap());
    assert_eq!(found, [stays.project].into());
    let found =
        existing(&fixture.projects.stages_exist(&[gone.stage, beside.stage, stays.stage]).await.unwrap());
    assert_eq!(found, [stays.stage].into());
    assert_eq!(fixture.projects.find(stays.tenant, &alias("game")).await.unwrap(), stays.project);
    let (_, grants, _) = fixture.projects.get(&support(), stays.tenant, stays.project).await.unwrap();
    assert_eq!(grants.len(), 3);

    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    assert!(!fixture.was_project_deletion_announced().await);
}

#[tokio::test]
async fn more_projects_than_fit_in_a_batch_and_more_tenants_than_fit_on_a_page_go_in_one_run() {
    let fixture = Fixture::new().await;
    let crowded = fixture.tenant().await;
    for _ in 0..101 {
        fixture.stage_in(crowded).await;
    }
    let mut tenants = vec![crowded];
    for _ in 0..500 {
        tenants.push(fixture.stage().await.tenant);
    }
    let stays = fixture.stage().await;
    for tenant in tenants {
        assert!(fixture.tenants.delete(&support(), &tenant.into()).await.unwrap());
    }
    assert_eq!(sweep_orphans(&fixture).run_once().await.unwrap().changed, 601);
    assert!(fixture.projects.find(stays.tenant, &stays.project.into()).await.is_ok());
}

#[tokio::test]
async fn a_tenant_whose_projects_can_not_be_deleted_does_not_stop_the_others() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        let tenant = fixture.stage().await.tenant;
        assert!(fixture.tenants.delete(&support(), &tenant.into()).await.unwrap());
    }
    let armed = AtomicBool::new(true);
    let faults = Arc::new(move || armed.swap(false, Ordering::SeqCst).then_some(Fault::BeforeCommit));
    let mut sweep = SweepOrphans::new(fixture.projects_on(&fixture.foundation.db.with_faults(faults)));
    assert!(sweep.run_once().await.is_err(), "the failure is told");
    assert!(fixture.was_project_deletion_announced().await);
    assert_eq!(sweep.run_once().await.unwrap().changed, 1, "the other two went before");
}

#[tokio::test]
async fn the_permissions_of_a_deleted_user_go_and_those_of_others_stay() {
    let fixture = Fixture::new().await;
    let at = fixture.stage().await;
    let (leaves, stays, visits) =
        (fixture.developer().await, fixture.developer().await, fixture.developer().await);
    for id in [leaves, stays] {
        fixture.grant_all_but(id, at, &[]).await;
    }
    let of_projects = ["STAGE_MANAGER", "VERSION_MANAGER", "PROJECT_VIEWER"];
    fixture.grant_all_but(visits, at, &of_projects).await;
    let mut sweep = sweep_permissions(&fixture);
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    for id in [leaves, visits] {
        assert!(fixture.accounts.delete(&support(), Role::Developer, &id.into()).await.unwrap());
    }
    assert_eq!(sweep.run_once().await.unwrap().changed, 5 + 2);
    let (_, grants, _) = fixture.projects.get(&support(), at.tenant, at.project).await.unwrap();
    assert!(grants.len() == 3 && grants.iter().all(|it| it.user_id == stays));
    let (_, grants) = fixture.projects.get_stage(&support(), at.tenant, at.project, at.stage).await.unwrap();
    assert!(grants.len() == 2 && grants.iter().all(|it| it.user_id == stays));
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
}
