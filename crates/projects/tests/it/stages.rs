//! Where projects and stages are, and where they are not.

use std::time::Duration;

use omgservers_api::{Kind, ProjectPermission, Ref, Role, StagePermission, TenantPermission, ids::Id as _};
use omgservers_core::{Clock as _, existing};
use omgservers_fixtures::{Fixture, StagePath, alias, missing, support, user};
use omgservers_projects::{Projects as _, problems};
use omgservers_tenants::Tenants as _;

#[tokio::test]
async fn a_project_is_made_with_a_stage_in_the_slot_of_its_tenant() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    assert_eq!((project.slot(), stage.slot()), (tenant.slot(), tenant.slot()));
    assert_eq!(fixture.projects.find(tenant, &project.into()).await.unwrap(), project);
    assert_eq!(fixture.projects.find_stage(tenant, project, &stage.into()).await.unwrap(), stage);
    assert_eq!(
        fixture.projects.locate_stage(stage).await.unwrap(),
        omgservers_projects::StagePath { stage, project, tenant }
    );
    let (shown, grants, stages) = fixture.projects.get(&support(), tenant, project).await.unwrap();
    let now = fixture.foundation.clock.now();
    assert_eq!((shown.id, shown.tenant_id, shown.created), (project, tenant, now));
    assert_eq!(grants, [], "support needs no permissions and gets none");
    let stages: Vec<_> = stages.iter().map(|it| (it.id, it.project_id, it.tenant_id, it.created)).collect();
    assert_eq!(stages, [(stage, project, tenant, now)]);
}

#[tokio::test]
async fn a_developer_may_manage_the_project_that_he_made() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    let developer = user(Role::Developer, id);
    let manager = [TenantPermission::ProjectManager];
    fixture.tenants.grant(&support(), tenant, &id.into(), &manager).await.unwrap();
    let (project, stage) = fixture.projects.create(&developer, tenant).await.unwrap();
    let (_, grants, _) = fixture.projects.get(&developer, tenant, project).await.unwrap();
    let mut granted: Vec<_> = grants.iter().map(|it| (it.project_id, it.user_id, it.permission)).collect();
    granted.sort_unstable();
    assert_eq!(granted, ProjectPermission::ALL.iter().map(|it| (project, id, *it)).collect::<Vec<_>>());
    assert!(grants.iter().all(|it| it.tenant_id == tenant && it.id.slot() == tenant.slot()));
    let (_, grants) = fixture.projects.get_stage(&developer, tenant, project, stage).await.unwrap();
    let granted: Vec<_> = grants.iter().map(|it| (it.stage_id, it.user_id, it.permission)).collect();
    assert_eq!(granted, [(stage, id, StagePermission::DeploymentManager)]);

    let second = fixture.projects.create_stage(&developer, tenant, project).await.unwrap();
    for permission in StagePermission::ALL {
        fixture.projects.require_stage(&developer, tenant, second, *permission).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_made_where_there_is_nothing() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    let gone = fixture.tenant().await;
    fixture.tenants.delete(&support(), &gone.into()).await.unwrap();
    for tenant in [gone, missing()] {
        let problem = fixture.projects.create(&support(), tenant).await.unwrap_err();
        assert!(problem.is(problems::PARENT_NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("PARENT_NOT_FOUND", Kind::NotFound));
        let stage = fixture.projects.create_stage(&support(), tenant, here.project).await;
        assert!(stage.unwrap_err().is(problems::PARENT_NOT_FOUND), "the project is in another tenant");
    }
    let stage = fixture.projects.create_stage(&support(), here.tenant, missing()).await;
    assert!(stage.unwrap_err().is(problems::PARENT_NOT_FOUND));
}

#[tokio::test]
async fn what_is_elsewhere_is_not_found_by_its_number() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    let elsewhere = [fixture.stage_in(here.tenant).await, fixture.stage().await];
    for StagePath { tenant, project, .. } in elsewhere {
        let found = fixture.projects.find_stage(tenant, project, &here.stage.into()).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        let shown = fixture.projects.get_stage(&support(), tenant, project, here.stage).await;
        assert!(shown.unwrap_err().is(problems::STAGE_NOT_FOUND));
    }
    let other = elsewhere[1].tenant;
    let found = fixture.projects.find_stage(other, here.project, &here.stage.into()).await;
    assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
    assert!(fixture.projects.find(other, &here.project.into()).await.unwrap_err().is(problems::NOT_FOUND));
    let shown = fixture.projects.get(&support(), other, here.project).await;
    assert!(shown.unwrap_err().is(problems::NOT_FOUND));
}

#[tokio::test]
async fn what_never_was_is_not_found() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, .. } = fixture.stage().await;
    for unknown in [Ref::Id(missing()), alias("nothing"), alias("")] {
        let problem = fixture.projects.find(tenant, &unknown).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
    }
    for unknown in [Ref::Id(missing()), alias("nothing"), alias("a\0b")] {
        let problem = fixture.projects.find_stage(tenant, project, &unknown).await.unwrap_err();
        assert!(problem.is(problems::STAGE_NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
    }
    assert!(fixture.projects.locate_stage(missing()).await.unwrap_err().is(problems::STAGE_NOT_FOUND));
    let shown = fixture.projects.get_stage(&support(), tenant, project, missing()).await;
    assert!(shown.unwrap_err().is(problems::STAGE_NOT_FOUND));
}

#[tokio::test]
async fn projects_and_stages_are_listed_oldest_first() {
    let fixture = Fixture::new().await;
    let first = fixture.stage().await;
    fixture.foundation.clock.step_wall(chrono::Duration::seconds(-60));
    let older = fixture.stage_in(first.tenant).await;
    fixture.stage().await;
    let listed = fixture.projects.of_tenant(first.tenant).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [older.project, first.project]);
    assert_eq!(fixture.projects.of_tenant(missing()).await.unwrap(), []);

    fixture.foundation.clock.advance(Duration::from_secs(1));
    let newer = fixture.projects.create_stage(&support(), older.tenant, older.project).await.unwrap();
    let (_, _, stages) = fixture.projects.get(&support(), older.tenant, older.project).await.unwrap();
    assert_eq!(stages.iter().map(|it| it.id).collect::<Vec<_>>(), [older.stage, newer]);
}

#[tokio::test]
async fn a_walk_through_the_pages_of_a_tenant_meets_every_project_once() {
    let fixture = Fixture::new().await;
    let first = fixture.stage().await;
    let mut expected = vec![first.project];
    for _ in 0..4 {
        expected.push(fixture.stage_in(first.tenant).await.project);
    }
    fixture.stage().await;
    fixture.projects.create_alias(&support(), first.tenant, first.project, "game").await.unwrap();
    expected.sort();
    for size in 1..=6 {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = fixture.projects.list(&support(), first.tenant, after, size).await.unwrap();
            assert!(!page.is_empty() && page.len() <= usize::try_from(size).unwrap());
            walked.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(walked.iter().map(|it| it.id).collect::<Vec<_>>(), expected, "{size} per page");
        let named: Vec<_> = walked.iter().filter(|it| !it.aliases.is_empty()).map(|it| it.id).collect();
        assert_eq!(named, [first.project]);
    }
    assert_eq!(fixture.projects.list(&support(), missing(), None, 10).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn which_of_many_exist_is_answered_at_once() {
    let fixture = Fixture::new().await;
    let (here, gone) = (fixture.stage().await, fixture.stage().await);
    fixture.projects.delete(&support(), gone.tenant, &gone.project.into()).await.unwrap();
    let found = existing(&fixture.projects.exist(&[here.project, gone.project, missing()]).await.unwrap());
    assert_eq!(found, [here.project].into());
    let found = existing(&fixture.projects.stages_exist(&[here.stage, gone.stage, missing()]).await.unwrap());
    assert_eq!(found, [here.stage].into());
    assert!(existing(&fixture.projects.exist(&[]).await.unwrap()).is_empty());
}
