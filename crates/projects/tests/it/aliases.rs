use omgservers_api::{Kind, ids::Id as _, problem::codes, roles::AliasQualifier};
use omgservers_projects::{Projects as _, problems};

use crate::bed::{Bed, Place, missing, named, support};

#[tokio::test]
async fn a_project_and_a_stage_are_found_by_each_of_their_names() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    for name in ["game", "the game"] {
        bed.projects.create_alias(&support(), tenant, project, name).await.unwrap();
        bed.projects.create_stage_alias(&support(), tenant, stage, name).await.unwrap();
        assert_eq!(bed.projects.find(tenant, &named(name)).await.unwrap(), project);
        assert_eq!(bed.projects.find_stage(tenant, project, &named(name)).await.unwrap(), stage);
    }
    let (shown, _, stages) = bed.projects.get(&support(), tenant, project).await.unwrap();
    let listed = bed.projects.of_tenant(tenant).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&shown));
    let (alone, _) = bed.projects.get_stage(&support(), tenant, project, stage).await.unwrap();
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
    let bed = Bed::new().await;
    let here = bed.place().await;
    bed.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    bed.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
    let beside = bed.place_in(here.tenant).await;
    for project in [here.project, beside.project] {
        let taken = bed.projects.create_alias(&support(), here.tenant, project, "game").await.unwrap_err();
        assert!(taken.is(problems::ALIAS_TAKEN));
        assert_eq!((taken.qualifier(), taken.kind()), ("DB_CONSTRAINT_VIOLATED", Kind::Invalid));
    }
    let second = bed.projects.create_stage(&support(), here.tenant, here.project).await.unwrap();
    for stage in [here.stage, second] {
        let taken = bed.projects.create_stage_alias(&support(), here.tenant, stage, "prod").await;
        assert!(taken.unwrap_err().is(problems::ALIAS_TAKEN));
    }

    let other = bed.place().await;
    bed.projects.create_alias(&support(), other.tenant, other.project, "game").await.unwrap();
    bed.projects.create_stage_alias(&support(), here.tenant, beside.stage, "prod").await.unwrap();
    assert_eq!(bed.projects.find(here.tenant, &named("game")).await.unwrap(), here.project);
    assert_eq!(bed.projects.find(other.tenant, &named("game")).await.unwrap(), other.project);
    for Place { tenant, project, stage } in [here, beside] {
        assert_eq!(bed.projects.find_stage(tenant, project, &named("prod")).await.unwrap(), stage);
    }
}

#[tokio::test]
async fn a_name_says_nothing_in_another_tenant_or_project() {
    let bed = Bed::new().await;
    let (here, other) = (bed.place().await, bed.place().await);
    let beside = bed.place_in(here.tenant).await;
    bed.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    bed.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
    assert!(bed.projects.find(other.tenant, &named("game")).await.unwrap_err().is(problems::NOT_FOUND));
    for (tenant, project) in [(here.tenant, beside.project), (other.tenant, here.project)] {
        let found = bed.projects.find_stage(tenant, project, &named("prod")).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
    }
}

#[tokio::test]
async fn what_is_not_here_gets_no_name() {
    let bed = Bed::new().await;
    let (here, other) = (bed.place().await, bed.place().await);
    for project in [other.project, missing()] {
        let problem = bed.projects.create_alias(&support(), here.tenant, project, "game").await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
    }
    for stage in [other.stage, missing()] {
        let problem =
            bed.projects.create_stage_alias(&support(), here.tenant, stage, "prod").await.unwrap_err();
        assert!(problem.is(problems::STAGE_NOT_FOUND));
    }
    bed.projects.create_alias(&support(), here.tenant, here.project, "game").await.unwrap();
    bed.projects.create_stage_alias(&support(), here.tenant, here.stage, "prod").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_name_at_the_same_time_one_gets_it() {
    let bed = Bed::new().await;
    let projects = bed.projects_on(&bed.ground.test_db.pool(8).await);
    let tenant = bed.tenant().await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (projects, project) = (projects.clone(), bed.place_in(tenant).await.project);
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
    assert_eq!(projects.find(tenant, &named("game")).await.unwrap(), winners[0]);
}

#[tokio::test]
async fn names_are_texts_and_nothing_else() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    for name in ["'; drop table projects.project; --", "%", "_", "a\\b", "\"q\"", "Ünïcødé 🎮", "名前", "$1"]
    {
        bed.projects.create_alias(&support(), tenant, project, name).await.unwrap();
        bed.projects.create_stage_alias(&support(), tenant, stage, name).await.unwrap();
        assert_eq!(bed.projects.find(tenant, &named(name)).await.unwrap(), project, "{name}");
        assert_eq!(bed.projects.find_stage(tenant, project, &named(name)).await.unwrap(), stage, "{name}");
    }
    assert!(bed.projects.find(tenant, &named("%%")).await.unwrap_err().is(problems::NOT_FOUND));
}

#[tokio::test]
async fn what_can_not_be_a_name_is_refused_and_never_found() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    for name in ["", "  ", "12", "-1", "a\0b", "a\nb", &"x".repeat(65), &"ä".repeat(100_000)] {
        let refused = bed.projects.create_alias(&support(), tenant, project, name).await;
        assert!(refused.unwrap_err().is(codes::VALIDATION));
        let refused = bed.projects.create_stage_alias(&support(), tenant, stage, name).await;
        assert!(refused.unwrap_err().is(codes::VALIDATION));
        assert!(bed.projects.find(tenant, &named(name)).await.unwrap_err().is(problems::NOT_FOUND));
        let found = bed.projects.find_stage(tenant, project, &named(name)).await;
        assert!(found.unwrap_err().is(problems::STAGE_NOT_FOUND));
        assert!(!bed.projects.delete(&support(), tenant, &named(name)).await.unwrap());
    }
    bed.projects.create_alias(&support(), tenant, project, &"ä".repeat(64)).await.unwrap();
}
