use omgservers_api::{Kind, ids::Id as _, problem::codes, roles::AliasQualifier};
use omgservers_fixtures::{Fixture, StagePath, alias, missing, support};
use omgservers_projects::{Projects as _, problems};

#[tokio::test]
async fn a_project_and_a_stage_are_found_by_each_of_their_names() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    for name in ["game", "the game"] {
        fixture.projects.create_alias(&support(), tenant, project, name).await.unwrap();
        fixture.projects.create_stage_alias(&support(), tenant, stage, name).await.unwrap();
        assert_eq!(fixture.projects.find(tenant, &alias(name)).await.unwrap(), project);
        assert_eq!(fixture.projects.find_stage(tenant, project, &alias(name)).await.unwrap(), stage);
    }
    let (shown, _, stages) = fixture.projects.get(&support(), tenant, project).await.unwrap();
    let listed = fixture.projects.of_tenant(tenant).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&shown));
    let (alone, _) = fixture.projects.get_stage(&support(), tenant, project, stage).await.unwrap();
    assert_eq!(stages, std::slice::from_ref(&alone));
    let of_project = shown.aliases.iter().map(|it| (it, AliasQualifier::Project, project.get()));
    let of_stage = alone.aliases.iter().map(|it| (it, AliasQualifier::Stage, stage.get()));
    for (alias, qualifier, entity) in of_project.chain(of_stage) {
        assert_eq!((alias.qualifier, alias.entity_id, alias.id.slot()), (qualifier, entity, tenant.slot()));
    }
    let values: Vec<_> = shown.aliases.iter().chain(&alone.aliases).map(|it| it.value.as_str()).collect();
    assert_eq!(values, ["game", "the game", "game", "the game"]);
}

#[tokio::test]
async fn a_name_is_given_once_in_a_tenant_and_once_in_a_project() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    fixture.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    fixture.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
    let beside = fixture.stage_in(here.tenant).await;
    for project in [here.project, beside.project] {
        let taken =
            fixture.projects.create_alias(&support(), here.tenant, project, "game").await.unwrap_err();
        assert!(taken.is(problems::ALIAS_TAKEN));
        assert_eq!((taken.qualifier(), taken.kind()), ("DB_CONSTRAINT_VIOLATED", Kind::Invalid));
    }
    let second = fixture.projects.create_stage(&support(), here.tenant, here.project).await.unwrap();
    for stage in [here.stage, second] {
        let taken = fixture.projects.create_stage_alias(&support(), here.tenant, stage, "prod").await;
        assert!(taken.unwrap_err().is(problems::ALIAS_TAKEN));
    }

    let other = fixture.stage().await;
    fixture.projects.create_alias(&support(), other.tenant, other.project, "game").await.unwrap();
    fixture.projects.create_stage_alias(&support(), here.tenant, beside.stage, "prod").await.unwrap();
    assert_eq!(fixture.projects.find(here.tenant, &alias("game")).await.unwrap(), here.project);
    assert_eq!(fixture.projects.find(other.tenant, &alias("game")).await.unwrap(), other.project);
    for StagePath { tenant, project, stage } in [here, beside] {
        assert_eq!(fixture.projects.find_stage(tenant, project, &alias("prod")).await.unwrap(), stage);
    }
}

#[tokio::test]
async fn a_name_means_nothing_in_another_tenant_or_project() {
    let fixture = Fixture::new().await;
    let (here, other) = (fixture.stage().await, fixture.stage().await);
    let beside = fixture.stage_in(here.tenant).await;
    fixture.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    fixture.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
    assert!(fixture.projects.find(other.tenant, &alias("game")).await.unwrap_err().is(problems::NOT_FOUND));
    for (tenant, project) in [(here.tenant, beside.project), (other.tenant, here.project)] {
        let found = fixture.projects.find_stage(tenant, project, &alias("prod")).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
    }
}

#[tokio::test]
async fn what_is_not_here_gets_no_name() {
    let fixture = Fixture::new().await;
    let (here, other) = (fixture.stage().await, fixture.stage().await);
    for project in [other.project, missing()] {
        let problem =
            fixture.projects.create_alias(&support(), here.tenant, project, "game").await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
    }
    for stage in [other.stage, missing()] {
        let problem =
            fixture.projects.create_stage_alias(&support(), here.tenant, stage, "prod").await.unwrap_err();
        assert!(problem.is(problems::STAGE_NOT_FOUND));
    }
    fixture.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    fixture.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_name_at_the_same_time_one_gets_it() {
    let fixture = Fixture::new().await;
    let projects = fixture.projects_on(&fixture.foundation.test_db.pool(8).await);
    let tenant = fixture.tenant().await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (projects, project) = (projects.clone(), fixture.stage_in(tenant).await.project);
        attempts.spawn(
            async move { (project, projects.create_alias(&support(), tenant, project, "game").await) },
        );
    }
    let (mut winners, mut losers) = (Vec::new(), 0);
    while let Some(attempt) = attempts.join_next().await {
        match attempt.unwrap() {
            (project, Ok(())) => winners.push(project),
            (_, Err(problem)) => {
                assert!(problem.is(problems::ALIAS_TAKEN), "{problem:?}");
                losers += 1;
            }
        }
    }
    assert_eq!((winners.len(), losers), (1, 15));
    assert_eq!(projects.find(tenant, &alias("game")).await.unwrap(), winners[0]);
}

#[tokio::test]
async fn names_are_texts_and_nothing_else() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    for name in ["'; drop table projects.project; --", "%", "_", "a\\b", "\"q\"", "Ünïcødé 🎮", "名前", "$1"]
    {
        fixture.projects.create_alias(&support(), tenant, project, name).await.unwrap();
        fixture.projects.create_stage_alias(&support(), tenant, stage, name).await.unwrap();
        assert_eq!(fixture.projects.find(tenant, &alias(name)).await.unwrap(), project, "{name}");
        assert_eq!(
            fixture.projects.find_stage(tenant, project, &alias(name)).await.unwrap(),
            stage,
            "{name}"
        );
    }
    assert!(fixture.projects.find(tenant, &alias("%%")).await.unwrap_err().is(problems::NOT_FOUND));
}

#[tokio::test]
async fn what_can_not_be_a_name_is_refused_and_never_found() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    for name in ["", "  ", "12", "-1", "a\0b", "a\nb", &"x".repeat(65), &"ä".repeat(100_000)] {
        let refused = fixture.projects.create_alias(&support(), tenant, project, name).await;
        assert!(refused.unwrap_err().is(codes::VALIDATION));
        let refused = fixture.projects.create_stage_alias(&support(), tenant, stage, name).await;
        assert!(refused.unwrap_err().is(codes::VALIDATION));
        assert!(fixture.projects.find(tenant, &alias(name)).await.unwrap_err().is(problems::NOT_FOUND));
        let found = fixture.projects.find_stage(tenant, project, &alias(name)).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        assert!(!fixture.projects.delete(&support(), tenant, &alias(name)).await.unwrap());
    }
    fixture.projects.create_alias(&support(), tenant, project, &"ä".repeat(64)).await.unwrap();
}
