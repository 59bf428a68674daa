use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_accounts::{Accounts as _, problems};
use omgservers_api::{Role, problem::codes};
use omgservers_core::{db::Fault, existing};
use omgservers_fixtures::{Fixture, alias, support, system};

use crate::fixture::{elsewhere, faulty, nobody, number, player, strangers};

#[tokio::test]
async fn a_deleted_user_gets_no_token_and_is_not_found() {
    let fixture = Fixture::new().await;
    let (developer, player) = (fixture.new_developer().await, player(&fixture).await);
    fixture.accounts.create_alias(&support(), Role::Developer, developer.id, "ada").await.unwrap();
    fixture.accounts.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap();
    assert!(fixture.accounts.delete(&support(), Role::Developer, &developer.id.into()).await.unwrap());
    assert!(fixture.accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap());
    for (role, user, password) in [
        (Role::Developer, developer.id.into(), &developer.password),
        (Role::Developer, alias("ada"), &developer.password),
        (Role::Player, player.id.into(), &player.password),
    ] {
        let refused = fixture.accounts.verify(&[role], &user, password).await.unwrap_err();
        assert!(refused.is(codes::WRONG_CREDENTIALS));
        assert!(fixture.accounts.find(&user).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(
            !fixture.accounts.delete(&system(), role, &user).await.unwrap(),
            "there is nothing left to delete"
        );
    }
    assert!(existing(&fixture.accounts.exist(&[developer.id, player.id]).await.unwrap()).is_empty());
    assert_eq!(number(&fixture, "select count(*) from accounts.name").await, 0);
}

#[tokio::test]
async fn another_process_knows_of_a_deletion_within_a_minute() {
    let fixture = Fixture::new().await;
    let elsewhere = elsewhere(&fixture, 4);
    let player = elsewhere.create(&system(), Role::Player).await.unwrap();
    fixture.accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap();
    fixture.foundation.clock.advance(Duration::from_secs(60));
    let refused = elsewhere.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}

#[tokio::test]
async fn support_deletes_developers_and_nobody_else() {
    let fixture = Fixture::new().await;
    let (developer, player) = (fixture.new_developer().await.id, player(&fixture).await.id);
    fixture.accounts.ensure("admin", Role::Admin, Some("operator's own")).await.unwrap();
    let admin = fixture.accounts.find(&alias("admin")).await.unwrap().id;
    for caller in strangers() {
        let refused = fixture.accounts.delete(&caller, Role::Developer, &developer.into()).await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{caller:?}");
    }
    for role in [Role::Admin, Role::Support, Role::Service, Role::Player] {
        let refused = fixture.accounts.delete(&support(), role, &admin.into()).await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{role}");
    }
    // Calling an admin or a player a developer doesn't help.
    for other in [admin.into(), alias("admin"), player.into(), nobody().into(), alias("eve")] {
        assert!(!fixture.accounts.delete(&support(), Role::Developer, &other).await.unwrap(), "{other}");
    }
    assert_eq!(existing(&fixture.accounts.exist(&[developer, player, admin]).await.unwrap()).len(), 3);
    fixture.accounts.verify(&[Role::Admin], &alias("admin"), "operator's own").await.unwrap();
}

#[tokio::test]
async fn a_name_can_be_given_again_after_its_user_is_gone() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.new_developer().await, fixture.new_developer().await);
    fixture.accounts.create_alias(&support(), Role::Developer, one.id, "ada").await.unwrap();
    assert!(fixture.accounts.delete(&support(), Role::Developer, &alias("ada")).await.unwrap());
    fixture.accounts.create_alias(&support(), Role::Developer, two.id, "ada").await.unwrap();
    assert_eq!(fixture.accounts.find(&alias("ada")).await.unwrap().id, two.id);
    let refused =
        fixture.accounts.verify(&[Role::Developer], &alias("ada"), &one.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}

#[tokio::test]
async fn a_crash_between_a_user_and_its_names_blocks_no_name() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.new_developer().await, fixture.new_developer().await);
    fixture.accounts.create_alias(&support(), Role::Developer, one.id, "ada").await.unwrap();
    let transactions = AtomicUsize::new(0);
    let accounts = faulty(&fixture, move || {
        (transactions.fetch_add(1, Ordering::SeqCst) == 1).then_some(Fault::BeforeBegin)
    });
    accounts.delete(&support(), Role::Developer, &one.id.into()).await.unwrap_err();
    assert_eq!(number(&fixture, "select count(*) from accounts.name").await, 1, "the name stayed behind");
    assert!(fixture.accounts.find(&alias("ada")).await.unwrap_err().is(problems::NOT_FOUND));
    let refused =
        fixture.accounts.verify(&[Role::Developer], &alias("ada"), &one.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
    fixture.accounts.create_alias(&support(), Role::Developer, two.id, "ada").await.unwrap();
    assert_eq!(fixture.accounts.find(&alias("ada")).await.unwrap().id, two.id);
    assert_eq!(number(&fixture, "select count(*) from accounts.name").await, 1);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_still_one() {
    let fixture = Fixture::new().await;
    let accounts = Arc::new(faulty(&fixture, {
        let transactions = AtomicUsize::new(0);
        move || (transactions.fetch_add(1, Ordering::SeqCst) == 1).then_some(Fault::AfterCommit)
    }));
    let player = accounts.create(&system(), Role::Player).await.unwrap();
    accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap_err();
    let refused = accounts.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}
