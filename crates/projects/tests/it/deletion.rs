use omgservers_api::{ProjectPermission, Ref, Role, StagePermission, problem::codes};
use omgservers_projects::{Projects as _, problems};

use crate::bed::{Bed, Place, named, support, user};

#[tokio::test]
async fn a_deleted_project_is_gone_with_all_that_was_in_it() {
    let bed = Bed::new().await;
    let (here, id) = (bed.place().await, bed.developer().await);
    let Place { tenant, project, stage } = here;
    bed.projects.create_alias(&support(), tenant, project, "game").await.unwrap();
    bed.projects.create_stage_alias(&support(), tenant, stage, "prod").await.unwrap();
    bed.grant_all_but(id, here, &[]).await;
    assert!(bed.projects.delete(&support(), tenant, &named("game")).await.unwrap());
    for name in [Ref::Id(project), named("game")] {
        assert!(bed.projects.find(tenant, &name).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(!bed.projects.delete(&support(), tenant, &name).await.unwrap());
    }
    for name in [Ref::Id(stage), named("prod")] {
        let found = bed.projects.find_stage(tenant, project, &name).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        assert!(!bed.projects.delete_stage(&support(), tenant, project, &name).await.unwrap());
    }
    assert!(bed.projects.locate_stage(stage).await.unwrap_err().is(problems::STAGE_NOT_FOUND));
    assert_eq!(bed.projects.of_tenant(tenant).await.unwrap(), []);
    let developer = user(Role::Developer, id);
    let viewer = ProjectPermission::ProjectViewer;
    let held = bed.projects.require(&developer, tenant, project, viewer).await;
    assert!(held.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    let manager = StagePermission::DeploymentManager;
    let held = bed.projects.require_stage(&developer, tenant, stage, manager).await;
    assert!(held.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn names_of_what_was_deleted_can_be_given_again() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    let Place { tenant, project, stage } = here;
    bed.projects.create_stage_alias(&support(), tenant, stage, "prod").await.unwrap();
    assert!(bed.projects.delete_stage(&support(), tenant, project, &named("prod")).await.unwrap());
    assert!(!bed.projects.delete_stage(&support(), tenant, project, &named("prod")).await.unwrap());
    let next = bed.projects.create_stage(&support(), tenant, project).await.unwrap();
    bed.projects.create_stage_alias(&support(), tenant, next, "prod").await.unwrap();
    assert_eq!(bed.projects.find_stage(tenant, project, &named("prod")).await.unwrap(), next);

    bed.projects.create_alias(&support(), tenant, project, "game").await.unwrap();
    assert!(bed.projects.delete(&support(), tenant, &project.into()).await.unwrap());
    let next = bed.place_in(tenant).await.project;
    bed.projects.create_alias(&support(), tenant, next, "game").await.unwrap();
    assert_eq!(bed.projects.find(tenant, &named("game")).await.unwrap(), next);
}

#[tokio::test]
async fn who_manages_one_project_can_not_delete_stages_of_another() {
    let bed = Bed::new().await;
    let (mine, id) = (bed.place().await, bed.developer().await);
    let others = [bed.place_in(mine.tenant).await, bed.place().await];
    bed.grant_all_but(id, mine, &["PROJECT_MANAGER"]).await;
    let developer = user(Role::Developer, id);
    for victim in others {
        bed.projects.create_stage_alias(&support(), victim.tenant, victim.stage, "prod").await.unwrap();
        for name in [Ref::Id(victim.stage), named("prod")] {
            let deleted = bed.projects.delete_stage(&developer, mine.tenant, mine.project, &name).await;
            assert!(!deleted.unwrap());
        }
        assert!(bed.projects.locate_stage(victim.stage).await.is_ok());
    }
    let renamed = bed.projects.create_stage_alias(&developer, mine.tenant, others[0].stage, "mine").await;
    assert!(renamed.unwrap_err().is(codes::PERMISSION_NOT_FOUND), "it is in the same tenant");
    let renamed = bed.projects.create_stage_alias(&developer, mine.tenant, others[1].stage, "mine").await;
    assert!(renamed.unwrap_err().is(problems::STAGE_NOT_FOUND), "it is in another tenant");
}

#[tokio::test]
async fn a_project_is_not_deleted_through_another_tenant() {
    let bed = Bed::new().await;
    let (here, other) = (bed.place().await, bed.place().await);
    assert!(!bed.projects.delete(&support(), other.tenant, &here.project.into()).await.unwrap());
    let through = bed.projects.delete_stage(&support(), other.tenant, here.project, &here.stage.into()).await;
    assert!(!through.unwrap());
    assert!(bed.projects.find(here.tenant, &here.project.into()).await.is_ok());
    assert!(bed.projects.locate_stage(here.stage).await.is_ok());
}

#[tokio::test]
async fn a_deleted_stage_leaves_its_project_and_its_neighbours_alone() {
    let bed = Bed::new().await;
    let (here, id) = (bed.place().await, bed.developer().await);
    let Place { tenant, project, stage } = here;
    let beside = bed.projects.create_stage(&support(), tenant, project).await.unwrap();
    bed.projects.create_stage_alias(&support(), tenant, beside, "beside").await.unwrap();
    bed.grant_all_but(id, Place { stage: beside, ..here }, &[]).await;
    assert!(bed.projects.delete_stage(&support(), tenant, project, &stage.into()).await.unwrap());
    let (_, grants, stages) = bed.projects.get(&support(), tenant, project).await.unwrap();
    assert_eq!((grants.len(), stages.len()), (3, 1));
    let (shown, grants) = bed.projects.get_stage(&support(), tenant, project, beside).await.unwrap();
    assert_eq!((shown.aliases.len(), grants.len()), (1, 2));
}

#[tokio::test]
async fn who_comes_after_projects_is_woken_by_deletions_and_by_nothing_else() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    assert!(!bed.were_heirs_woken().await);
    for deleted in [true, false] {
        let answer = bed.projects.delete_stage(&support(), tenant, project, &stage.into()).await.unwrap();
        assert_eq!((answer, bed.were_heirs_woken().await), (deleted, deleted));
    }
    for deleted in [true, false] {
        let answer = bed.projects.delete(&support(), tenant, &project.into()).await.unwrap();
        assert_eq!((answer, bed.were_heirs_woken().await), (deleted, deleted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stage_made_while_its_project_is_deleted_does_not_stay_behind() {
    let bed = Bed::new().await;
    let projects = bed.projects_on(&bed.ground.test_db.pool(4).await);
    for _ in 0..30 {
        let Place { tenant, project, .. } = bed.place().await;
        let deletion = tokio::spawn({
            let projects = projects.clone();
            async move { projects.delete(&support(), tenant, &project.into()).await }
        });
        let made = projects.create_stage(&support(), tenant, project).await;
        assert!(deletion.await.unwrap().unwrap());
        match made {
            Ok(stage) => assert!(projects.locate_stage(stage).await.is_err()),
            Err(problem) => assert!(problem.is(problems::PARENT_NOT_FOUND), "{problem:?}"),
        }
    }
}
