use omgservers_accounts::{Accounts as _, problems};
use omgservers_api::{Role, problem::codes};
use omgservers_fixtures::{Fixture, alias, support, system, user};

use crate::fixture::{nobody, number, player, strangers};

#[tokio::test]
async fn a_developer_is_found_by_each_of_its_names() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await.id;
    for name in ["ada", "Ada", "countess"] {
        fixture.accounts.create_alias(&support(), Role::Developer, developer, name).await.unwrap();
        assert_eq!(fixture.accounts.find(&alias(name)).await.unwrap().id, developer);
    }
    for unknown in ["ADA", "ad", "ada ", "%", "a\0da"] {
        let missing = fixture.accounts.find(&alias(unknown)).await.unwrap_err();
        assert!(missing.is(problems::NOT_FOUND), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_user() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.new_developer().await.id, fixture.new_developer().await.id);
    fixture.accounts.create_alias(&support(), Role::Developer, one, "ada").await.unwrap();
    for other in [one, two] {
        let taken =
            fixture.accounts.create_alias(&support(), Role::Developer, other, "ada").await.unwrap_err();
        assert!(taken.is(problems::ALIAS_TAKEN));
        assert_eq!(taken.qualifier(), "DB_CONSTRAINT_VIOLATED");
    }
    assert_eq!(fixture.accounts.find(&alias("ada")).await.unwrap().id, one);
}

#[tokio::test]
async fn names_are_given_by_support_to_developers() {
    let fixture = Fixture::new().await;
    let (developer, player) = (fixture.new_developer().await.id, player(&fixture).await.id);
    for caller in strangers() {
        let refused =
            fixture.accounts.create_alias(&caller, Role::Developer, developer, "ada").await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{caller:?}");
    }
    for role in [Role::Admin, Role::Support, Role::Service, Role::Player] {
        let refused = fixture.accounts.create_alias(&support(), role, player, "ada").await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{role}");
    }
    for wrong in [player, nobody()] {
        let missing =
            fixture.accounts.create_alias(&support(), Role::Developer, wrong, "ada").await.unwrap_err();
        assert!(missing.is(problems::NOT_FOUND));
    }
    assert_eq!(number(&fixture, "select count(*) from accounts.name").await, 0);
    fixture.accounts.create_alias(&system(), Role::Player, player, "ada").await.unwrap();
    assert_eq!(fixture.accounts.find(&alias("ada")).await.unwrap().id, player);
}

#[tokio::test]
async fn what_is_no_alias_is_refused() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await.id;
    for bad in ["", "  ", "12", "-12", "a\0b", "a\nb", &"x".repeat(65)] {
        let refused =
            fixture.accounts.create_alias(&support(), Role::Developer, developer, bad).await.unwrap_err();
        assert!(refused.is(codes::VALIDATION), "{bad:?}");
    }
}

#[tokio::test]
async fn a_name_may_look_like_sql() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await;
    let names = ["'; drop table accounts.account; --", "a' or '1'='1", "%", "_", "\\", "$1", "\"x\"", "🎮 ü"];
    for name in names {
        fixture.accounts.create_alias(&support(), Role::Developer, developer.id, name).await.unwrap();
        let found =
            fixture.accounts.verify(&[Role::Developer], &alias(name), &developer.password).await.unwrap();
        assert_eq!(found.id, developer.id);
    }
    for name in ["' or 1=1 --", "__", "%%", "a' or '1'='2"] {
        let refused = fixture.accounts.verify(&[Role::Developer], &alias(name), &developer.password).await;
        assert!(refused.unwrap_err().is(codes::WRONG_CREDENTIALS), "{name:?}");
    }
    let refused = fixture.accounts.verify(&[Role::Developer], &developer.id.into(), "' or '1'='1").await;
    assert!(refused.unwrap_err().is(codes::WRONG_CREDENTIALS));
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 1);
}

#[tokio::test]
async fn two_who_want_a_name_at_once_get_it_once() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.new_developer().await.id, fixture.new_developer().await.id);
    for round in 0..10 {
        let name = format!("ada-{round}");
        let caller = support();
        let give = |user| fixture.accounts.create_alias(&caller, Role::Developer, user, &name);
        let (first, second) = tokio::join!(give(one), give(two));
        let winner = if first.is_ok() { one } else { two };
        assert!(first.is_ok() != second.is_ok());
        assert!(first.or(second).is_ok());
        assert_eq!(fixture.accounts.find(&alias(&name)).await.unwrap().id, winner);
    }
}

#[tokio::test]
async fn the_service_may_do_what_support_may() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await.id;
    fixture
        .accounts
        .create_alias(&user(Role::Service, nobody()), Role::Developer, developer, "ada")
        .await
        .unwrap();
}
