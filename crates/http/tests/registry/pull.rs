//! Category "pull": blobs, whole and in part, and who may.

use reqwest::Method;

use crate::fixture::{RegistryFixture, digest, error, header};

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_read_and_asked_for() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let digest = owner.blob(b"0123456789").await;
    let path = format!("blobs/{digest}");
    let head = owner.head(&path).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(head.headers(), "content-length"), "10");
    assert_eq!(header(head.headers(), "docker-content-digest"), digest.to_string());
    let got = owner.get(&path).await;
    assert_eq!((got.status().as_u16(), header(got.headers(), "accept-ranges")), (200, "bytes".to_owned()));
    assert_eq!(header(got.headers(), "content-length"), "10");
    assert_eq!(got.text().await.unwrap(), "0123456789");
    let empty = owner.blob(b"").await;
    assert_eq!(owner.get(&format!("blobs/{empty}")).await.bytes().await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_blob_are_read_by_range() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let path = format!("blobs/{}", owner.blob(b"0123456789").await);
    for (range, part, shown) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let got = owner.request(Method::GET, &path).header("range", range).send().await.unwrap();
        assert_eq!((got.status().as_u16(), header(got.headers(), "content-range")), (206, shown.to_owned()));
        assert_eq!(got.text().await.unwrap(), part);
    }
    let beyond = owner.request(Method::GET, &path).header("range", "bytes=10-").send().await.unwrap();
    assert_eq!(
        (beyond.status().as_u16(), header(beyond.headers(), "content-range")),
        (416, "bytes */10".to_owned())
    );
    let odd = owner.request(Method::GET, &path).header("range", "bytes=0-1,4-5").send().await.unwrap();
    assert_eq!((odd.status().as_u16(), odd.text().await.unwrap().len()), (200, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_answered_in_the_words_of_the_specification() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let unknown = digest(b"unknown");
    assert_eq!(owner.head(&format!("blobs/{unknown}")).await.status(), 404);
    assert_eq!(owner.head("manifests/nothing").await.status(), 404);
    for (path, status, code) in [
        (format!("blobs/{unknown}"), 404, "BLOB_UNKNOWN"),
        ("blobs/sha256:0".to_owned(), 400, "DIGEST_INVALID"),
        (format!("manifests/{unknown}"), 404, "MANIFEST_UNKNOWN"),
        ("manifests/nothing".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("manifests/sha256:0".to_owned(), 400, "DIGEST_INVALID"),
        ("things/nothing".to_owned(), 404, "NAME_UNKNOWN"),
    ] {
        let (found, word, _) = error(owner.get(&path).await).await;
        assert_eq!((found, word.as_str()), (status, code), "{path}");
    }
    for (path, code) in
        [("library/ubuntu/tags/list", "NAME_UNKNOWN"), ("Not/A_Name_/tags/list", "NAME_INVALID")]
    {
        let answer = fixture.request(Method::GET, &format!("/v2/{path}")).bearer_auth(&owner.token);
        assert_eq!(error(answer.send().await.unwrap()).await.1, code);
    }
    let method = owner.request(Method::PATCH, &format!("blobs/{unknown}")).send().await.unwrap();
    assert_eq!(error(method).await.1, "UNSUPPORTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_learns_where_to_get_one() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let name = path.universal();
    for path in ["/v2/", "/v2"] {
        let answer = fixture.request(Method::GET, path).send().await.unwrap();
        let challenge = header(answer.headers(), "www-authenticate");
        let realm = format!("http://{}/service/v1/entrypoint/docker/request/create-token", fixture.host);
        assert_eq!(challenge, format!("Bearer realm=\"{realm}\",service=\"registry\""));
        let (status, code, _) = error(answer).await;
        assert_eq!((status, code.as_str()), (401, "UNAUTHORIZED"));
    }
    let answer = fixture.request(Method::POST, &format!("/v2/{name}/blobs/uploads/")).send().await.unwrap();
    let challenge = header(answer.headers(), "www-authenticate");
    assert!(challenge.ends_with(&format!(",scope=\"repository:{name}:pull,push\"")), "{challenge}");
    let any =
        fixture.request(Method::GET, "/v2/").bearer_auth(fixture.token(&[], "pull")).send().await.unwrap();
    assert_eq!(any.status(), 200);
    let forged = fixture.request(Method::GET, "/v2/").bearer_auth("a.b.c").send().await.unwrap();
    assert!(header(forged.headers(), "www-authenticate").ends_with("error=\"invalid_token\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_it_names_and_nothing_else() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let other = fixture.version_path().await;
    let repository = path.universal();
    let digest = fixture.owner(repository).blob(b"mine").await;
    let blob = format!("blobs/{digest}");
    let mut client = fixture.owner(repository);
    let tags = (Method::GET, "tags/list".to_owned());
    let (read, start) = ((Method::GET, blob.clone()), (Method::POST, "blobs/uploads/".to_owned()));
    let delete = (Method::DELETE, blob);
    for (repositories, actions, requests) in [
        (vec![repository], "pull", vec![&start, &delete]),
        (vec![repository], "push", vec![&read, &start, &delete, &tags]),
        (vec![repository], "pull,push", vec![&delete]),
        (vec![repository], "delete", vec![&read, &start]),
        (vec![other.universal()], "pull,push,delete", vec![&read, &start, &delete, &tags]),
        (vec![], "pull", vec![&read, &start, &delete]),
    ] {
        client.token = fixture.token(&repositories, actions);
        for (method, path) in requests {
            let answer = client.request(method.clone(), path).send().await.unwrap();
            let challenge = header(answer.headers(), "www-authenticate");
            let (status, code, message) = error(answer).await;
            assert_eq!((status, code.as_str()), (401, "DENIED"), "{actions}: {method} {path}: {message}");
            assert!(challenge.ends_with("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    // Tokens of other kinds open nothing.
    let (developer, _) = fixture.developer(path).await;
    for token in [
        fixture.tokens.user(developer, omgservers_api::Role::Developer).unwrap(),
        fixture.tokens.registry_refresh(developer).unwrap(),
    ] {
        client.token = token;
        assert_eq!(client.get("tags/list").await.status(), 401);
    }
}
