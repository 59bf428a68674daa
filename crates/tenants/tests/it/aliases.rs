use std::time::Duration;

use omgservers_api::{Kind, Ref, Role, TenantId, ids::Id as _, problem::codes, roles::AliasQualifier};
use omgservers_core::Clock as _;
use omgservers_fixtures::{Fixture, strangers, support, user};
use omgservers_tenants::{Tenants as _, problems};

fn named(name: &str) -> Ref<TenantId> {
    Ref::Alias(name.to_owned())
}

#[tokio::test]
async fn a_tenant_is_found_by_its_id_and_by_each_of_its_names() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant().await;
    fixture.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    fixture.tenants.create_alias(&support(), tenant, "acme games").await.unwrap();
    for name in [Ref::Id(tenant), named("acme"), named("acme games")] {
        assert_eq!(fixture.tenants.find(&name).await.unwrap(), tenant);
    }
}

#[tokio::test]
async fn a_tenant_that_never_was_is_not_found_by_a_number_either() {
    let fixture = Fixture::new().await;
    for value in [99, 5 << 51, i64::MAX] {
        let missing = TenantId::from_i64(value).unwrap();
        let problem = fixture.tenants.find(&Ref::Id(missing)).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
        assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
        let problem = fixture.tenants.create_alias(&support(), missing, "ghost").await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
    }
    assert!(fixture.tenants.find(&named("ghost")).await.unwrap_err().is(problems::NOT_FOUND));
}

#[tokio::test]
async fn a_second_tenant_with_the_same_alias_is_refused() {
    let fixture = Fixture::new().await;
    let (first, second) = (fixture.tenant().await, fixture.tenant().await);
    fixture.tenants.create_alias(&support(), first, "acme").await.unwrap();
    for tenant in [first, second] {
        let problem = fixture.tenants.create_alias(&support(), tenant, "acme").await.unwrap_err();
        assert!(problem.is(problems::ALIAS_TAKEN));
        assert_eq!((problem.qualifier(), problem.kind()), ("DB_CONSTRAINT_VIOLATED", Kind::Invalid));
    }
    assert_eq!(fixture.tenants.find(&named("acme")).await.unwrap(), first);
    fixture.tenants.create_alias(&support(), second, "Acme").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_name_at_the_same_time_one_gets_it() {
    let fixture = Fixture::new().await;
    let tenants = fixture.tenants_on(&fixture.foundation.test_db.pool(8).await);
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (tenants, tenant) = (tenants.clone(), fixture.tenant().await);
        attempts.spawn(async move { (tenant, tenants.create_alias(&support(), tenant, "acme").await) });
    }
    let (mut winners, mut losers) = (Vec::new(), 0);
    while let Some(attempt) = attempts.join_next().await {
        match attempt.unwrap() {
            (tenant, Ok(())) => winners.push(tenant),
            (_, Err(problem)) => {
                assert!(problem.is(problems::ALIAS_TAKEN), "{problem:?}");
                losers += 1;
            }
        }
    }
    assert_eq!((winners.len(), losers), (1, 15));
    assert_eq!(tenants.find(&named("acme")).await.unwrap(), winners[0]);
}

#[tokio::test]
async fn names_are_texts_and_nothing_else() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant().await;
    let names =
        ["'; drop table tenants.tenant; --", "%", "_", "a\\b", "\"q\"", "Ünïcødé 🎮", "名前", "$1", "null"];
    for name in names {
        fixture.tenants.create_alias(&support(), tenant, name).await.unwrap();
        assert_eq!(fixture.tenants.find(&named(name)).await.unwrap(), tenant, "{name}");
    }
    for unknown in ["__", "%%", "Ünïcødé", "NULL"] {
        assert!(
            fixture.tenants.find(&named(unknown)).await.unwrap_err().is(problems::NOT_FOUND),
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn what_can_not_be_a_name_is_refused_and_never_found() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant().await;
    let bad = ["", "  ", "12", "-1", "a\0b", "a\nb", &"x".repeat(65), &"ä".repeat(100_000)];
    for name in bad {
        let problem = fixture.tenants.create_alias(&support(), tenant, name).await.unwrap_err();
        assert!(problem.is(codes::VALIDATION), "{problem:?}");
        assert!(fixture.tenants.find(&named(name)).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(!fixture.tenants.delete(&support(), &named(name)).await.unwrap());
    }
    fixture.tenants.create_alias(&support(), tenant, &"ä".repeat(64)).await.unwrap();
}

#[tokio::test]
async fn a_viewer_sees_the_names_in_the_order_of_their_making() {
    let fixture = Fixture::new().await;
    let born = fixture.foundation.clock.now();
    let tenant = fixture.tenant().await;
    for name in ["zebra", "ant"] {
        fixture.foundation.clock.advance(Duration::from_secs(60));
        fixture.tenants.create_alias(&support(), tenant, name).await.unwrap();
    }
    let (shown, grants) = fixture.tenants.get(&support(), tenant).await.unwrap();
    assert_eq!((shown.id, shown.created), (tenant, born));
    assert_eq!(grants, []);
    let names: Vec<_> =
        shown.aliases.iter().map(|it| (it.value.as_str(), it.entity_id, it.qualifier)).collect();
    let tenant_id = tenant.get();
    assert_eq!(
        names,
        [("zebra", tenant_id, AliasQualifier::Tenant), ("ant", tenant_id, AliasQualifier::Tenant)]
    );
    assert_eq!(shown.aliases[1].created, fixture.foundation.clock.now());
    assert!(shown.aliases.iter().all(|it| it.id.slot() == tenant.slot()));
}

#[tokio::test]
async fn only_support_makes_and_names_tenants() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    for stranger in strangers(id) {
        assert!(fixture.tenants.create(&stranger).await.unwrap_err().is(codes::WRONG_ROLE));
        let named = fixture.tenants.create_alias(&stranger, tenant, "mine").await;
        assert!(named.unwrap_err().is(codes::WRONG_ROLE));
    }
    for trusted in [omgservers_core::Caller::System("test"), user(Role::Service, id)] {
        fixture.tenants.create(&trusted).await.unwrap();
    }
    fixture.tenants.create_alias(&support(), tenant, "mine").await.unwrap();
}
