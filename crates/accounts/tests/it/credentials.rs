use omgservers_accounts::{Accounts as _, PgAccounts};
use omgservers_api::{Ref, Role, UserId, problem::codes};
use omgservers_fixtures::{Fixture, alias, support, system};

use crate::fixture::{elsewhere, nobody, number, player, secrets, watched};

async fn refusal(
    accounts: &PgAccounts,
    roles: &[Role],
    user: impl Into<Ref<UserId>>,
    password: &str,
) -> String {
    let refused = accounts.verify(roles, &user.into(), password).await.unwrap_err();
    assert!(refused.is(codes::WRONG_CREDENTIALS), "{refused:?}");
    format!("{:?}", refused.body("request"))
}

#[tokio::test]
async fn unknown_users_wrong_passwords_and_other_roles_get_one_answer() {
    let fixture = Fixture::new().await;
    let (player, developer) = (player(&fixture).await, fixture.new_developer().await);
    fixture.accounts.create_alias(&support(), Role::Developer, developer.id, "ada").await.unwrap();
    fixture.accounts.ensure("admin", Role::Admin, Some("operator's own")).await.unwrap();
    let accounts = &fixture.accounts;
    let expected = refusal(accounts, &[Role::Developer], nobody(), "any").await;
    let answers = [
        refusal(accounts, &[Role::Developer], developer.id, "wrong").await,
        refusal(accounts, &[Role::Developer], developer.id, "").await,
        refusal(accounts, &[Role::Developer], developer.id, &"x".repeat(500)).await,
        refusal(accounts, &[Role::Developer], developer.id, "a\0b").await,
        refusal(accounts, &[Role::Developer], alias("ada"), "wrong").await,
        refusal(accounts, &[Role::Developer], alias("eve"), "wrong").await,
        refusal(accounts, &[Role::Developer], alias("a\0b"), "wrong").await,
        refusal(accounts, &[Role::Developer], player.id, &player.password).await,
        refusal(accounts, &[Role::Developer], alias("admin"), "operator's own").await,
        refusal(accounts, &[Role::Admin], developer.id, &developer.password).await,
        refusal(accounts, &[Role::Support, Role::Service], alias("admin"), "operator's own").await,
        refusal(accounts, &[Role::Player], developer.id, &developer.password).await,
        refusal(accounts, &[Role::Player], alias("admin"), "operator's own").await,
        refusal(accounts, &[Role::Player], player.id, "wrong").await,
        refusal(accounts, &[Role::Player], nobody(), &player.password).await,
        refusal(accounts, &[], developer.id, &developer.password).await,
    ];
    for answer in answers {
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn the_right_password_opens_for_each_role_that_is_asked_for() {
    let fixture = Fixture::new().await;
    let developer = fixture.new_developer().await;
    fixture.accounts.create_alias(&support(), Role::Developer, developer.id, "ada").await.unwrap();
    let player = player(&fixture).await;
    for user in [developer.id.into(), alias("ada")] {
        let roles = [Role::Admin, Role::Developer];
        let found = fixture.accounts.verify(&roles, &user, &developer.password).await.unwrap();
        assert_eq!((found.id, found.role), (developer.id, Role::Developer));
    }
    let found = fixture.accounts.verify(Role::ALL, &player.id.into(), &player.password).await.unwrap();
    assert_eq!(found.id, player.id);
    refusal(&fixture.accounts, Role::ALL, player.id, "wrong").await;
}

#[tokio::test]
async fn a_stored_hash_is_no_password() {
    let fixture = Fixture::new().await;
    let player = player(&fixture).await;
    let digest = secrets(&fixture).digest(&player.password);
    let kept = format!("select count(*) from accounts.account where secret = '{digest}'");
    assert_eq!(number(&fixture, &kept).await, 1);
    refusal(&fixture.accounts, &[Role::Player], player.id, &digest).await;
    refusal(&elsewhere(&fixture, 4), &[Role::Player], player.id, &digest).await;
}

#[tokio::test]
async fn nobody_learns_from_the_time_who_exists() {
    let fixture = Fixture::new().await;
    let (accounts, passwords) = watched(&fixture);
    let developer = accounts.create(&support(), Role::Developer).await.unwrap();
    let player = accounts.create(&system(), Role::Player).await.unwrap();
    let long = "x".repeat(100);
    for (what, user, password) in [
        ("a wrong password", developer.id.into(), "wrong"),
        ("an unknown id", nobody().into(), "wrong"),
        ("an unknown alias", alias("eve"), "wrong"),
        ("another role", player.id.into(), player.password.as_str()),
        ("an overlong password", developer.id.into(), long.as_str()),
    ] {
        let before = passwords.made();
        accounts.verify(&[Role::Developer], &user, password).await.unwrap_err();
        assert_eq!(passwords.made() - before, 1, "{what} costs one slow hash, as all do");
    }
}

#[tokio::test]
async fn players_cost_no_slow_hash() {
    let fixture = Fixture::new().await;
    let (accounts, passwords) = watched(&fixture);
    for _ in 0..20 {
        let new = accounts.create(&system(), Role::Player).await.unwrap();
        accounts.verify(&[Role::Player], &new.id.into(), &new.password).await.unwrap();
        refusal(&accounts, &[Role::Player], new.id, "wrong").await;
        refusal(&accounts, &[Role::Player], nobody(), "wrong").await;
    }
    assert_eq!(passwords.made(), 0);
}
