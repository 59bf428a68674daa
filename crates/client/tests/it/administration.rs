use omgservers_client::{
    Client, Support,
    api::{Kind, entrypoint::support::CreateTenantAliasRequest, problem::UNAVAILABLE},
    fake::{FakeBackend, Reply},
    problems::{ADDRESS, FOREIGN_ANSWER, VALUE},
};

#[tokio::test]
async fn a_request_goes_to_the_path_of_its_role_with_the_token() {
    let fake = FakeBackend::start(|_, _| Reply::Body(200, r#"{"created":true}"#.into())).await.unwrap();
    let support = Client::new(&format!("{}/", fake.url)).unwrap().support("t0ken");
    let request = CreateTenantAliasRequest { tenant_id: "7".parse().unwrap(), alias: "acme".into() };
    assert!(support.create_tenant_alias(&request).await.unwrap().created);
    let received = fake.received().remove(0);
    assert_eq!(received.path, "/service/v1/entrypoint/support/request/create-tenant-alias");
    assert_eq!(received.token.as_deref(), Some("t0ken"));
    assert_eq!(received.body, r#"{"tenant_id":"7","alias":"acme"}"#);
}

#[tokio::test]
async fn a_token_is_asked_for_by_id_or_alias() {
    let fake = FakeBackend::start(|_, _| Reply::Body(200, r#"{"raw_token":"abc"}"#.into())).await.unwrap();
    let client = Client::new(&fake.url).unwrap();
    assert_eq!(Support::create_token(&client, "support", "pw").await.unwrap(), "abc");
    assert_eq!(fake.received()[0].body, r#"{"user":"support","password":"pw"}"#);
    assert_eq!(fake.received()[0].token, None);
    assert!(Support::create_token(&client, "", "pw").await.unwrap_err().is(VALUE));
}

#[tokio::test]
async fn a_problem_is_rebuilt_from_the_error_body() {
    let fake = FakeBackend::start(|_, _| {
        Reply::problem(404, "OBJECT_NOT_FOUND", "tenants.not_found", "no such tenant")
    })
    .await
    .unwrap();
    let problem = Client::new(&fake.url).unwrap().support("t").create_tenant().await.unwrap_err();
    assert_eq!(problem.kind(), Kind::NotFound);
    assert_eq!(problem.qualifier(), "OBJECT_NOT_FOUND");
    assert_eq!(problem.code(), "tenants.not_found");
    assert_eq!(problem.sentence(), "no such tenant");
    assert_eq!(problem.request_id(), Some("r-1"));
}

#[tokio::test]
async fn an_answer_that_is_not_the_backends_is_no_problem_of_the_backend() {
    for (status, body, kind) in [
        (502, "<html>Bad Gateway</html>", Kind::Internal),
        (403, "", Kind::Forbidden),
        (200, "hello", Kind::Internal),
        (204, "", Kind::Internal),
        (404, r#"{"error":"nope"}"#, Kind::NotFound),
    ] {
        let fake = FakeBackend::start(move |_, _| Reply::Body(status, body.into())).await.unwrap();
        let problem = Client::new(&fake.url).unwrap().support("t").create_tenant().await.unwrap_err();
        assert!(problem.is(FOREIGN_ANSWER), "{status}: {problem:?}");
        assert_eq!(problem.kind(), kind, "{status}");
        assert!(problem.sentence().contains(&status.to_string()), "{problem}");
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_a_sentence() {
    let fake = FakeBackend::start(|_, _| Reply::Close).await.unwrap();
    let url = fake.url.clone();
    let client = Client::new(&url).unwrap();
    let broken = client.support("t").create_tenant().await.unwrap_err();
    assert!(broken.is(UNAVAILABLE) && broken.sentence().contains("broke"), "{broken:?}");
    drop(fake);
    let gone = client.support("t").create_tenant().await.unwrap_err();
    assert!(gone.is(UNAVAILABLE), "{gone:?}");
    assert!(gone.sentence().starts_with(&format!("{url} can't be reached: ")), "{gone}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    for address in ["", "localhost:8080", "ftp://localhost", "http://"] {
        assert!(Client::new(address).unwrap_err().is(ADDRESS), "{address}");
    }
    assert!(Client::new("https://play.example.org/").is_ok());
}

#[test]
fn tokens_and_passwords_are_not_printed() {
    let client = Client::new("http://localhost").unwrap();
    assert!(!format!("{:?}", client.admin("s3cret")).contains("s3cret"));
}
