use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;
use omgservers_accounts::Accounts as _;
use omgservers_api::{Role, ids::Id as _, problem::codes};
use omgservers_core::{db::Fault, existing};
use omgservers_fixtures::{Fixture, support, system, user};

use crate::fixture::{counted, elsewhere, faulty, nobody, number, player, stranger, strangers};

#[tokio::test]
async fn a_player_signs_up_and_comes_back_with_the_password() {
    let fixture = Fixture::new().await;
    let new = player(&fixture).await;
    assert_eq!(new.password.len(), 32);
    let found = fixture.accounts.verify(&[Role::Player], &new.id.into(), &new.password).await.unwrap();
    assert_eq!((found.id, found.role), (new.id, Role::Player));
    // Another process has to read what this one wrote.
    let found = elsewhere(&fixture, 4).verify(&[Role::Player], &new.id.into(), &new.password).await.unwrap();
    assert_eq!(found.id, new.id);
}

#[tokio::test]
async fn anybody_may_sign_up() {
    let fixture = Fixture::new().await;
    for caller in strangers() {
        fixture.accounts.create(&caller, Role::Player).await.unwrap();
    }
}

#[tokio::test]
async fn developers_are_made_by_support_only() {
    let fixture = Fixture::new().await;
    for caller in strangers() {
        let refused = fixture.accounts.create(&caller, Role::Developer).await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{caller:?}");
    }
    for caller in [support(), system()] {
        let new = fixture.accounts.create(&caller, Role::Developer).await.unwrap();
        fixture.accounts.verify(&[Role::Developer], &new.id.into(), &new.password).await.unwrap();
    }
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 2);
}

#[tokio::test]
async fn nobody_is_made_an_operator_over_the_api() {
    let fixture = Fixture::new().await;
    for role in [Role::Admin, Role::Support, Role::Service] {
        for caller in [
            support(),
            user(Role::Admin, nobody()),
            user(Role::Developer, nobody()),
            user(Role::Player, nobody()),
        ] {
            assert!(fixture.accounts.create(&caller, role).await.unwrap_err().is(codes::WRONG_ROLE));
        }
    }
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 0);
}

#[tokio::test]
async fn who_signs_up_at_the_same_time_shares_commits() {
    let fixture = Fixture::new().await;
    let (accounts, transactions) = counted(&fixture);
    let signing_up = (0..200).map(|_| {
        let accounts = Arc::clone(&accounts);
        tokio::spawn(async move { accounts.create(&stranger(), Role::Player).await.unwrap() })
    });
    let all: Vec<_> = join_all(signing_up).await.into_iter().map(Result::unwrap).collect();
    let used = transactions.load(Ordering::SeqCst);
    assert!(used <= 20, "200 players took {used} transactions");
    assert_eq!(all.iter().map(|it| it.id).collect::<HashSet<_>>().len(), 200);
    assert_eq!(all.iter().map(|it| &it.password).collect::<HashSet<_>>().len(), 200);
    assert_eq!(number(&fixture, "select count(*) from accounts.account where role = 'player'").await, 200);
    let elsewhere = elsewhere(&fixture, 4);
    for account in &all {
        accounts.verify(&[Role::Player], &account.id.into(), &account.password).await.unwrap();
        elsewhere.verify(&[Role::Player], &account.id.into(), &account.password).await.unwrap();
    }
    let slots: HashSet<_> = all.iter().map(|it| it.id.slot()).collect();
    assert!(slots.len() > 100, "players spread over the slots");
}

#[tokio::test]
async fn a_failed_commit_fails_its_callers_and_the_next_one_works() {
    let fixture = Fixture::new().await;
    for fault in [Fault::BeforeBegin, Fault::BeforeCommit] {
        let armed = Arc::new(AtomicBool::new(true));
        let accounts = faulty(&fixture, move || armed.swap(false, Ordering::SeqCst).then_some(fault));
        accounts.create(&stranger(), Role::Player).await.unwrap_err();
        let new = accounts.create(&stranger(), Role::Player).await.unwrap();
        accounts.verify(&[Role::Player], &new.id.into(), &new.password).await.unwrap();
    }
    assert_eq!(number(&fixture, "select count(*) from accounts.account").await, 2);
}

#[tokio::test]
async fn no_password_is_in_the_database() {
    let fixture = Fixture::new().await;
    for new in [player(&fixture).await, fixture.new_developer().await] {
        let kept = format!("select count(*) from accounts.account where secret like '%{}%'", new.password);
        assert_eq!(number(&fixture, &kept).await, 0);
    }
    let hashed = "select count(*) from accounts.account where secret like '$2b$%' and not keyed";
    assert_eq!(number(&fixture, hashed).await, 1);
}

#[tokio::test]
async fn users_are_found_by_id() {
    let fixture = Fixture::new().await;
    let (player, developer) = (player(&fixture).await.id, fixture.new_developer().await.id);
    let found = fixture.accounts.find(&developer.into()).await.unwrap();
    assert_eq!((found.id, found.role), (developer, Role::Developer));
    let missing = fixture.accounts.find(&nobody().into()).await.unwrap_err();
    assert!(missing.is(omgservers_accounts::problems::NOT_FOUND));
    let exist = existing(&fixture.accounts.exist(&[player, nobody(), developer, player]).await.unwrap());
    assert_eq!(exist, [player, developer].into());
    assert!(existing(&fixture.accounts.exist(&[]).await.unwrap()).is_empty());
}
