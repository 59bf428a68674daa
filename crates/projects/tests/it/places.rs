//! Where projects and stages are, and where they are not.

use std::time::Duration;

use omgservers_api::{Kind, ProjectPermission, Ref, Role, StagePermission, TenantPermission, ids::Id as _};
use omgservers_core::Clock as _;
use omgservers_projects::{Projects as _, StagePlace, problems};

use crate::bed::{Bed, Place, missing, named, support, user};

#[tokio::test]
async fn a_project_is_made_with_a_stage_in_the_slot_of_its_tenant() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    assert_eq!((project.slot(), stage.slot()), (tenant.slot(), tenant.slot()));
    assert_eq!(bed.projects.find(tenant, &project.into()).await.unwrap(), project);
    assert_eq!(bed.projects.find_stage(tenant, project, &stage.into()).await.unwrap(), stage);
    assert_eq!(bed.projects.locate_stage(stage).await.unwrap(), StagePlace { stage, project, tenant });
    let (shown, grants, stages) = bed.projects.get(&support(), tenant, project).await.unwrap();
    let now = bed.ground.clock.now();
    assert_eq!((shown.id, shown.tenant_id, shown.created), (project, tenant, now));
    assert_eq!(grants, [], "support needs no permissions and gets none");
    let stages: Vec<_> = stages.iter().map(|it| (it.id, it.project_id, it.tenant_id, it.created)).collect();
    assert_eq!(stages, [(stage, project, tenant, now)]);
}

#[tokio::test]
async fn a_developer_may_manage_the_project_that_he_made() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    let developer = user(Role::Developer, id);
    let manager = [TenantPermission::ProjectManager];
    bed.tenants.grant(&support(), tenant, &id.into(), &manager).await.unwrap();
    let (project, stage) = bed.projects.create(&developer, tenant).await.unwrap();
    let (_, grants, _) = bed.projects.get(&developer, tenant, project).await.unwrap();
    let mut held: Vec<_> = grants.iter().map(|it| (it.project_id, it.user_id, it.permission)).collect();
    held.sort_unstable();
    assert_eq!(held, ProjectPermission::ALL.iter().map(|it| (project, id, *it)).collect::<Vec<_>>());
    assert!(grants.iter().all(|it| it.tenant_id == tenant && it.id.slot() == tenant.slot()));
    let (_, grants) = bed.projects.get_stage(&developer, tenant, project, stage).await.unwrap();
    let held: Vec<_> = grants.iter().map(|it| (it.stage_id, it.user_id, it.permission)).collect();
    assert_eq!(held, [(stage, id, StagePermission::DeploymentManager)]);

    let second = bed.projects.create_stage(&developer, tenant, project).await.unwrap();
    for permission in StagePermission::ALL {
        bed.projects.require_stage(&developer, tenant, second, *permission).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_made_where_there_is_nothing() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    let gone = bed.tenant().await;
    bed.tenants.delete(&support(), &gone.into()).await.unwrap();
    for tenant in [gone, missing()] {
        let problem = bed.projects.create(&support(), tenant).await.unwrap_err();
        assert!(problem.is(problems::PARENT_NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("PARENT_NOT_FOUND", Kind::NotFound));
        let stage = bed.projects.create_stage(&support(), tenant, here.project).await;
        assert!(stage.unwrap_err().is(problems::PARENT_NOT_FOUND), "the project is in another tenant");
    }
    let stage = bed.projects.create_stage(&support(), here.tenant, missing()).await;
    assert!(stage.unwrap_err().is(problems::PARENT_NOT_FOUND));
}

#[tokio::test]
async fn what_is_elsewhere_is_not_found_by_its_number() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    let elsewhere = [bed.place_in(here.tenant).await, bed.place().await];
    for Place { tenant, project, .. } in elsewhere {
        let found = bed.projects.find_stage(tenant, project, &here.stage.into()).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        let shown = bed.projects.get_stage(&support(), tenant, project, here.stage).await;
        assert!(shown.unwrap_err().is(problems::STAGE_NOT_FOUND));
    }
    let other = elsewhere[1].tenant;
    let found = bed.projects.find_stage(other, here.project, &here.stage.into()).await;
    assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
    assert!(bed.projects.find(other, &here.project.into()).await.unwrap_err().is(problems::NOT_FOUND));
    let shown = bed.projects.get(&support(), other, here.project).await;
    assert!(shown.unwrap_err().is(problems::NOT_FOUND));
}

#[tokio::test]
async fn what_never_was_is_not_found() {
    let bed = Bed::new().await;
    let Place { tenant, project, .. } = bed.place().await;
    for unknown in [Ref::Id(missing()), named("nothing"), named("")] {
        let problem = bed.projects.find(tenant, &unknown).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
    }
    for unknown in [Ref::Id(missing()), named("nothing"), named("a\0b")] {
        let problem = bed.projects.find_stage(tenant, project, &unknown).await.unwrap_err();
        assert!(problem.is(problems::STAGE_NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
    }
    assert!(bed.projects.locate_stage(missing()).await.unwrap_err().is(problems::STAGE_NOT_FOUND));
    let shown = bed.projects.get_stage(&support(), tenant, project, missing()).await;
    assert!(shown.unwrap_err().is(problems::STAGE_NOT_FOUND));
}

#[tokio::test]
async fn projects_and_stages_are_listed_oldest_first() {
    let bed = Bed::new().await;
    let first = bed.place().await;
    bed.ground.clock.step_wall(chrono::Duration::seconds(-60));
    let older = bed.place_in(first.tenant).await;
    bed.place().await;
    let listed = bed.projects.of_tenant(first.tenant).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [older.project, first.project]);
    assert_eq!(bed.projects.of_tenant(missing()).await.unwrap(), []);

    bed.ground.clock.advance(Duration::from_secs(1));
    let newer = bed.projects.create_stage(&support(), older.tenant, older.project).await.unwrap();
    let (_, _, stages) = bed.projects.get(&support(), older.tenant, older.project).await.unwrap();
    assert_eq!(stages.iter().map(|it| it.id).collect::<Vec<_>>(), [older.stage, newer]);
}

#[tokio::test]
async fn which_of_many_exist_is_told_at_once() {
    let bed = Bed::new().await;
    let (here, gone) = (bed.place().await, bed.place().await);
    bed.projects.delete(&support(), gone.tenant, &gone.project.into()).await.unwrap();
    let found = bed.projects.exist(&[here.project, gone.project, missing()]).await.unwrap();
    assert_eq!(found, [here.project].into());
    let found = bed.projects.stages_exist(&[here.stage, gone.stage, missing()]).await.unwrap();
    assert_eq!(found, [here.stage].into());
    assert!(bed.projects.exist(&[]).await.unwrap().is_empty());
}
