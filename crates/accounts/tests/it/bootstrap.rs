use omgservers_accounts::{Accounts as _, problems};
use omgservers_api::{Role, problem::codes};
use omgservers_fixtures::{Fixture, alias, support};

use crate::fixture::{elsewhere, number};

#[tokio::test]
async fn the_first_start_makes_the_operators_and_later_ones_keep_them() {
    let fixture = Fixture::new().await;
    let operators = [("admin", Role::Admin), ("support", Role::Support), ("service", Role::Service)];
    let mut made = Vec::new();
    for (name, role) in operators {
        let password = fixture.accounts.ensure(name, role, None).await.unwrap().unwrap();
        assert_eq!(password.len(), 32);
        made.push(password);
    }
    for ((name, role), password) in operators.into_iter().zip(&made) {
        assert_eq!(fixture.accounts.ensure(name, role, None).await.unwrap(), None);
        let found = fixture.accounts.verify(&[role], &alias(name), password).await.unwrap();
        assert_eq!(found.role, role);
    }
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 3);
}

#[tokio::test]
async fn a_configured_password_replaces_the_old_one() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.accounts.ensure("admin", Role::Admin, Some("first")).await.unwrap(), None);
    let id = fixture.accounts.verify(&[Role::Admin], &alias("admin"), "first").await.unwrap().id;
    let secrets = "select ver from accounts.account";
    fixture.accounts.ensure("admin", Role::Admin, Some("first")).await.unwrap();
    assert_eq!(number(&fixture, secrets).await, 0, "the same password is not written again");
    fixture.accounts.ensure("admin", Role::Admin, Some("second")).await.unwrap();
    assert_eq!(number(&fixture, secrets).await, 1);
    let refused = fixture.accounts.verify(&[Role::Admin], &alias("admin"), "first").await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
    assert_eq!(fixture.accounts.verify(&[Role::Admin], &alias("admin"), "second").await.unwrap().id, id);
}

#[tokio::test]
async fn a_name_of_another_role_is_not_taken_over() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await;
    fixture.accounts.create_alias(&support(), Role::Developer, developer.id, "admin").await.unwrap();
    let taken = fixture.accounts.ensure("admin", Role::Admin, Some("operator's own")).await.unwrap_err();
    assert!(taken.is(problems::ALIAS_TAKEN));
    assert_eq!(fixture.accounts.find(&alias("admin")).await.unwrap().role, Role::Developer);
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 1);
}

#[tokio::test]
async fn what_can_open_no_account_is_refused() {
    let fixture = Fixture::new().await;
    for bad in ["", " ", &"x".repeat(72)] {
        let refused = fixture.accounts.ensure("admin", Role::Admin, Some(bad)).await.unwrap_err();
        assert!(refused.is(codes::VALIDATION), "{bad:?}");
    }
    assert!(fixture.accounts.ensure("12", Role::Admin, None).await.unwrap_err().is(codes::VALIDATION));
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 0);
}

#[tokio::test]
async fn two_processes_that_start_at_once_make_one_operator() {
    let fixture = Fixture::new().await;
    let elsewhere = elsewhere(&fixture, 4);
    for round in 0..5_i64 {
        let name = format!("admin-{round}");
        let (one, two) = tokio::join!(
            fixture.accounts.ensure(&name, Role::Admin, None),
            elsewhere.ensure(&name, Role::Admin, None)
        );
        let passwords: Vec<String> = one.unwrap().into_iter().chain(two.unwrap()).collect();
        assert_eq!(passwords.len(), 1, "one of them made it");
        elsewhere.verify(&[Role::Admin], &alias(&name), &passwords[0]).await.unwrap();
        assert_eq!(number(&fixture, "select count(*) from accounts.account").await, round + 1);
    }
}
