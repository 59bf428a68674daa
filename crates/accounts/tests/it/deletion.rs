use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_accounts::{Accounts as _, problems};
use omgservers_api::{Role, problem::codes};
use omgservers_core::db::Fault;

use crate::bed::{Bed, alias, nobody, strangers, support, system};

#[tokio::test]
async fn a_deleted_user_gets_no_token_and_is_not_found() {
    let bed = Bed::new().await;
    let (developer, player) = (bed.developer().await, bed.player().await);
    bed.accounts.create_alias(&support(), Role::Developer, developer.id, "ada").await.unwrap();
    bed.accounts.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap();
    assert!(bed.accounts.delete(&support(), Role::Developer, &developer.id.into()).await.unwrap());
    assert!(bed.accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap());
    for (role, user, password) in [
        (Role::Developer, developer.id.into(), &developer.password),
        (Role::Developer, alias("ada"), &developer.password),
        (Role::Player, player.id.into(), &player.password),
    ] {
        let refused = bed.accounts.verify(&[role], &user, password).await.unwrap_err();
        assert!(refused.is(codes::WRONG_CREDENTIALS));
        assert!(bed.accounts.find(&user).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(
            !bed.accounts.delete(&system(), role, &user).await.unwrap(),
            "there is nothing left to delete"
        );
    }
    assert!(bed.accounts.exist(&[developer.id, player.id]).await.unwrap().is_empty());
    assert_eq!(bed.number("select count(*) from accounts.name").await, 0);
}

#[tokio::test]
async fn another_process_knows_of_a_deletion_within_a_minute() {
    let bed = Bed::new().await;
    let elsewhere = bed.elsewhere(4);
    let player = elsewhere.create(&system(), Role::Player).await.unwrap();
    bed.accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap();
    bed.ground.clock.advance(Duration::from_secs(60));
    let refused = elsewhere.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}

#[tokio::test]
async fn support_deletes_developers_and_nobody_else() {
    let bed = Bed::new().await;
    let (developer, player) = (bed.developer().await.id, bed.player().await.id);
    bed.accounts.ensure("admin", Role::Admin, Some("operator's own")).await.unwrap();
    let admin = bed.accounts.find(&alias("admin")).await.unwrap().id;
    for caller in strangers() {
        let refused = bed.accounts.delete(&caller, Role::Developer, &developer.into()).await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{caller:?}");
    }
    for role in [Role::Admin, Role::Support, Role::Service, Role::Player] {
        let refused = bed.accounts.delete(&support(), role, &admin.into()).await.unwrap_err();
        assert!(refused.is(codes::WRONG_ROLE), "{role}");
    }
    // Calling an admin or a player a developer doesn't help.
    for other in [admin.into(), alias("admin"), player.into(), nobody().into(), alias("eve")] {
        assert!(!bed.accounts.delete(&support(), Role::Developer, &other).await.unwrap(), "{other}");
    }
    assert_eq!(bed.accounts.exist(&[developer, player, admin]).await.unwrap().len(), 3);
    bed.accounts.verify(&[Role::Admin], &alias("admin"), "operator's own").await.unwrap();
}

#[tokio::test]
async fn a_name_can_be_given_again_after_its_user_is_gone() {
    let bed = Bed::new().await;
    let (one, two) = (bed.developer().await, bed.developer().await);
    bed.accounts.create_alias(&support(), Role::Developer, one.id, "ada").await.unwrap();
    assert!(bed.accounts.delete(&support(), Role::Developer, &alias("ada")).await.unwrap());
    bed.accounts.create_alias(&support(), Role::Developer, two.id, "ada").await.unwrap();
    assert_eq!(bed.accounts.find(&alias("ada")).await.unwrap().id, two.id);
    let refused = bed.accounts.verify(&[Role::Developer], &alias("ada"), &one.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}

#[tokio::test]
async fn a_crash_between_a_user_and_its_names_blocks_no_name() {
    let bed = Bed::new().await;
    let (one, two) = (bed.developer().await, bed.developer().await);
    bed.accounts.create_alias(&support(), Role::Developer, one.id, "ada").await.unwrap();
    let transactions = AtomicUsize::new(0);
    let accounts =
        bed.faulty(move || (transactions.fetch_add(1, Ordering::SeqCst) == 1).then_some(Fault::BeforeBegin));
    accounts.delete(&support(), Role::Developer, &one.id.into()).await.unwrap_err();
    assert_eq!(bed.number("select count(*) from accounts.name").await, 1, "the name stayed behind");
    assert!(bed.accounts.find(&alias("ada")).await.unwrap_err().is(problems::NOT_FOUND));
    let refused = bed.accounts.verify(&[Role::Developer], &alias("ada"), &one.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
    bed.accounts.create_alias(&support(), Role::Developer, two.id, "ada").await.unwrap();
    assert_eq!(bed.accounts.find(&alias("ada")).await.unwrap().id, two.id);
    assert_eq!(bed.number("select count(*) from accounts.name").await, 1);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_still_one() {
    let bed = Bed::new().await;
    let accounts = Arc::new(bed.faulty({
        let transactions = AtomicUsize::new(0);
        move || (transactions.fetch_add(1, Ordering::SeqCst) == 1).then_some(Fault::AfterCommit)
    }));
    let player = accounts.create(&system(), Role::Player).await.unwrap();
    accounts.delete(&system(), Role::Player, &player.id.into()).await.unwrap_err();
    let refused = accounts.verify(&[Role::Player], &player.id.into(), &player.password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS));
}
