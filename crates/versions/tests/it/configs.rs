use std::{collections::BTreeSet, time::Duration};

use omgservers_api::{
    ProjectId, ProjectPermission, StagePermission, VersionId, config::VersionConfig, ids::Id as _,
    problem::codes,
};
use omgservers_core::{Clock as _, existing};
use omgservers_fixtures::{Fixture, support};
use omgservers_versions::{Versions as _, problems};

use crate::fixture::{config, strangers, unpermitted};

#[tokio::test]
async fn a_version_is_made_by_who_manages_versions_and_seen_by_who_views_the_project() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let manager =
        fixture.developer_with(path, &[ProjectPermission::VersionManager], StagePermission::ALL).await;
    let viewer =
        fixture.developer_with(path, &[ProjectPermission::ProjectViewer], StagePermission::ALL).await;
    let id = fixture.versions.create(&manager, path.tenant, path.project, &config("[]")).await.unwrap();
    assert_eq!(id.slot(), path.project.slot());
    let (version, images) = fixture.versions.get(&viewer, path.tenant, id).await.unwrap();
    assert_eq!((version.id, version.tenant_id, version.project_id), (id, path.tenant, path.project));
    assert_eq!(version.created, fixture.foundation.clock.now());
    assert_eq!(images, []);
}

#[tokio::test]
async fn nobody_else_makes_or_sees_a_version() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    for caller in unpermitted(&fixture, path, ProjectPermission::VersionManager).await {
        let refused = fixture.versions.create(&caller, path.tenant, path.project, &config("[]")).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in unpermitted(&fixture, path, ProjectPermission::ProjectViewer).await {
        let refused = fixture.versions.get(&caller, path.tenant, id).await;
        assert!(refused.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for caller in strangers() {
        let refused = fixture.versions.create(&caller, path.tenant, path.project, &config("[]")).await;
        assert!(refused.unwrap_err().is(codes::WRONG_ROLE));
        assert!(fixture.versions.get(&caller, path.tenant, id).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    let all = fixture.versions.of_project(path.project).await.unwrap();
    assert_eq!(all.len(), 1, "a refused version isn't kept");
}

#[tokio::test]
async fn a_version_of_another_tenant_is_not_there() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let id = fixture.version(path).await;
    let missing = fixture.versions.get(&support(), other.tenant, id).await.unwrap_err();
    assert!(missing.is(problems::NOT_FOUND));
    assert_eq!((missing.kind().status(), missing.qualifier()), (404, "OBJECT_NOT_FOUND"));
    let unknown = VersionId::from_i64(i64::MAX).unwrap();
    assert!(
        fixture.versions.get(&support(), path.tenant, unknown).await.unwrap_err().is(problems::NOT_FOUND)
    );
    assert!(fixture.versions.config(unknown).await.unwrap_err().is(problems::NOT_FOUND));
    assert_eq!(fixture.versions.images(unknown).await.unwrap(), []);
}

#[tokio::test]
async fn a_project_that_is_not_in_the_tenant_gets_no_version() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    for project in [other.project, ProjectId::from_i64(i64::MAX).unwrap()] {
        let refused =
            fixture.versions.create(&support(), path.tenant, project, &config("[]")).await.unwrap_err();
        assert!(refused.is(omgservers_projects::problems::NOT_FOUND), "{refused:?}");
    }
}

#[tokio::test]
async fn user_data_comes_back_byte_for_byte() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    for user_data in [
        r#"{"z":1,"a":[12345678901234567890123, 1.10e+2, -0.0],"z":2, "u":"\u00e4\ud83c\u0000ä 🎮"}"#,
        "{ \"spaces\" :\n\t[ ] }",
        r#""just a text""#,
        "9007199254740993",
        "[]",
        "false",
    ] {
        let json = format!(r#"{{"modes":[],"user_data":{user_data}}}"#);
        let sent: VersionConfig = serde_json::from_str(&json).unwrap();
        let id = fixture.versions.create(&support(), path.tenant, path.project, &sent).await.unwrap();
        // Once from the table, once from memory.
        for _ in 0..2 {
            let full = fixture.versions.config(id).await.unwrap();
            assert_eq!(full.config.user_data.as_ref().unwrap().get(), user_data);
            assert_eq!(serde_json::to_string(&full.config).unwrap(), json);
        }
    }
}

#[tokio::test]
async fn a_version_without_user_data_has_none_and_knows_where_it_belongs() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let modes = r#"[{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]}]"#;
    let sent = config(modes);
    let id = fixture.versions.create(&support(), path.tenant, path.project, &sent).await.unwrap();
    let full = fixture.versions.config(id).await.unwrap();
    assert_eq!((full.id, full.tenant_id, full.project_id), (id, path.tenant, path.project));
    assert_eq!(full.created, fixture.foundation.clock.now());
    assert_eq!(full.config.modes, sent.modes);
    assert!(full.config.user_data.is_none());
    assert_eq!(full.config.deployment, None);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_the_name_of_the_field() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let group = r#"[{"name":"g","min_players":1,"max_players":2}]"#;
    let mode = |name: &str, min: u32, max: u32, groups: &str| {
        format!(r#"{{"name":"{name}","min_players":{min},"max_players":{max},"groups":{groups}}}"#)
    };
    let twice = format!("[{},{}]", mode("a", 1, 2, group), mode("a", 1, 2, group));
    for (modes, field) in [
        (format!("[{}]", mode("", 1, 2, group)), "`config.modes[0].name`"),
        (format!("[{}]", mode("a", 0, 2, group)), "`config.modes[0].min_players`"),
        (format!("[{}]", mode("a", 2, 1, group)), "`config.modes[0].max_players`"),
        (format!("[{}]", mode("a", 1, 2, "[]")), "`config.modes[0].groups`"),
        (format!("[{}]", mode("a", 3, 3, group)), "`config.modes[0].groups`"),
        (twice, "`config.modes`"),
    ] {
        let refused = fixture
            .versions
            .create(&support(), path.tenant, path.project, &config(&modes))
            .await
            .unwrap_err();
        assert!(refused.is(codes::VALIDATION) && refused.sentence().starts_with(field), "{refused:?}");
    }
    assert_eq!(fixture.versions.of_project(path.project).await.unwrap(), []);
}

#[tokio::test]
async fn the_versions_of_a_project_are_listed_oldest_first() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let other = fixture.stage_in(path.tenant).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(fixture.version(path).await);
        fixture.version(other).await;
        fixture.foundation.clock.advance(Duration::from_secs(1));
    }
    let listed = fixture.versions.of_project(path.project).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), made);
    assert!(listed.iter().all(|it| it.project_id == path.project));
    assert!(listed.is_sorted_by_key(|it| it.created));
}

#[tokio::test]
async fn which_versions_exist_is_answered_for_many_at_once() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let (one, two) = (fixture.version(path).await, fixture.version(path).await);
    let unknown = VersionId::from_i64(i64::MAX).unwrap();
    let found = existing(&fixture.versions.exist(&[one, unknown, two]).await.unwrap());
    assert_eq!(found, BTreeSet::from([one, two]));
    assert_eq!(existing(&fixture.versions.exist(&[]).await.unwrap()), BTreeSet::new());
}
