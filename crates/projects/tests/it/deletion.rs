use omgservers_api::{ProjectPermission, Ref, Role, StagePermission, problem::codes};
use omgservers_fixtures::{Fixture, StagePath, alias, support, user};
use omgservers_projects::{Projects as _, problems};

#[tokio::test]
async fn a_deleted_project_is_gone_with_all_that_was_in_it() {
    let fixture = Fixture::new().await;
    let (here, id) = (fixture.stage().await, fixture.developer().await);
    let StagePath { tenant, project, stage } = here;
    fixture.projects.create_alias(&support(), tenant, project, "game").await.unwrap();
    fixture.projects.create_stage_alias(&support(), tenant, stage, "prod").await.unwrap();
    fixture.grant_all_but(id, here, &[]).await;
    assert!(fixture.projects.delete(&support(), tenant, &alias("game")).await.unwrap());
    for name in [Ref::Id(project), alias("game")] {
        assert!(fixture.projects.find(tenant, &name).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(!fixture.projects.delete(&support(), tenant, &name).await.unwrap());
    }
    for name in [Ref::Id(stage), alias("prod")] {
        let found = fixture.projects.find_stage(tenant, project, &name).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        assert!(!fixture.projects.delete_stage(&support(), tenant, project, &name).await.unwrap());
    }
    assert!(fixture.projects.locate_stage(stage).await.unwrap_err().is(problems::STAGE_NOT_FOUND));
    assert_eq!(fixture.projects.of_tenant(tenant).await.unwrap(), []);
    let developer = user(Role::Developer, id);
    let viewer = ProjectPermission::ProjectViewer;
    let granted = fixture.projects.require(&developer, tenant, project, viewer).await;
    assert!(granted.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    let manager = StagePermission::DeploymentManager;
    let granted = fixture.projects.require_stage(&developer, tenant, stage, manager).await;
    assert!(granted.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn names_of_what_was_deleted_can_be_given_again() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    let StagePath { tenant, project, stage } = here;
    fixture.projects.create_stage_alias(&support(), tenant, stage, "prod").await.unwrap();
    assert!(fixture.projects.delete_stage(&support(), tenant, project, &alias("prod")).await.unwrap());
    assert!(!fixture.projects.delete_stage(&support(), tenant, project, &alias("prod")).await.unwrap());
    let next = fixture.projects.create_stage(&support(), tenant, project).await.unwrap();
    fixture.projects.create_stage_alias(&support(), tenant, next, "prod").await.unwrap();
    assert_eq!(fixture.projects.find_stage(tenant, project, &alias("prod")).await.unwrap(), next);

    fixture.projects.create_alias(&support(), tenant, project, "game").await.unwrap();
    assert!(fixture.projects.delete(&support(), tenant, &project.into()).await.unwrap());
    let next = fixture.stage_in(tenant).await.project;
    fixture.projects.create_alias(&support(), tenant, next, "game").await.unwrap();
    assert_eq!(fixture.projects.find(tenant, &alias("game")).await.unwrap(), next);
}

#[tokio::test]
async fn who_manages_one_project_can_not_delete_stages_of_another() {
    let fixture = Fixture::new().await;
    let (mine, id) = (fixture.stage().await, fixture.developer().await);
    let others = [fixture.stage_in(mine.tenant).await, fixture.stage().await];
    fixture.grant_all_but(id, mine, &["PROJECT_MANAGER"]).await;
    let developer = user(Role::Developer, id);
    for victim in others {
        fixture.projects.create_stage_alias(&support(), victim.tenant, victim.stage, "prod").await.unwrap();
        for name in [Ref::Id(victim.stage), alias("prod")] {
            let deleted = fixture.projects.delete_stage(&developer, mine.tenant, mine.project, &name).await;
            assert!(!deleted.unwrap());
        }
        assert!(fixture.projects.locate_stage(victim.stage).await.is_ok());
    }
    let renamed = fixture.projects.create_stage_alias(&developer, mine.tenant, others[0].stage, "mine").await;
    assert!(renamed.unwrap_err().is(codes::PERMISSION_NOT_FOUND), "it is in the same tenant");
    let renamed = fixture.projects.create_stage_alias(&developer, mine.tenant, others[1].stage, "mine").await;
    assert!(renamed.unwrap_err().is(problems::STAGE_NOT_FOUND), "it is in another tenant");
}

#[tokio::test]
async fn a_project_is_not_deleted_through_another_tenant() {
    let fixture = Fixture::new().await;
    let (here, other) = (fixture.stage().await, fixture.stage().await);
    assert!(!fixture.projects.delete(&support(), other.tenant, &here.project.into()).await.unwrap());
    let through =
        fixture.projects.delete_stage(&support(), other.tenant, here.project, &here.stage.into()).await;
    assert!(!through.unwrap());
    assert!(fixture.projects.find(here.tenant, &here.project.into()).await.is_ok());
    assert!(fixture.projects.locate_stage(here.stage).await.is_ok());
}

#[tokio::test]
async fn a_deleted_stage_leaves_its_project_and_its_neighbours_alone() {
    let fixture = Fixture::new().await;
    let (here, id) = (fixture.stage().await, fixture.developer().await);
    let StagePath { tenant, project, stage } = here;
    let beside = fixture.projects.create_stage(&support(), tenant, project).await.unwrap();
    fixture.projects.create_stage_alias(&support(), tenant, beside, "beside").await.unwrap();
    fixture.grant_all_but(id, StagePath { stage: beside, ..here }, &[]).await;
    assert!(fixture.projects.delete_stage(&support(), tenant, project, &stage.into()).await.unwrap());
    let (_, grants, stages) = fixture.projects.get(&support(), tenant, project).await.unwrap();
    assert_eq!((grants.len(), stages.len()), (3, 1));
    let (shown, grants) = fixture.projects.get_stage(&support(), tenant, project, beside).await.unwrap();
    assert_eq!((shown.aliases.len(), grants.len()), (1, 2));
}

#[tokio::test]
async fn who_comes_after_projects_is_woken_by_deletions_and_by_nothing_else() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    assert!(!fixture.was_project_deletion_announced().await);
    for deleted in [true, false] {
        let answer = fixture.projects.delete_stage(&support(), tenant, project, &stage.into()).await.unwrap();
        assert_eq!((answer, fixture.was_project_deletion_announced().await), (deleted, deleted));
    }
    for deleted in [true, false] {
        let answer = fixture.projects.delete(&support(), tenant, &project.into()).await.unwrap();
        assert_eq!((answer, fixture.was_project_deletion_announced().await), (deleted, deleted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stage_made_while_its_project_is_deleted_does_not_stay_behind() {
    let fixture = Fixture::new().await;
    let projects = fixture.projects_on(&fixture.foundation.test_db.pool(4).await);
    for _ in 0..30 {
        let StagePath { tenant, project, .. } = fixture.stage().await;
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
