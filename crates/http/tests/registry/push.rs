//! Category "push": uploads in all their forms.

use omgservers_api::roles::ImageQualifier;
use omgservers_registry::Algorithm;
use reqwest::Method;

use crate::fixture::{RegistryFixture, broken, digest, error, header};

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_pushed_by_post_and_put() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let digest = digest(b"a layer");
    let location = owner.start().await;
    let finished = owner.finish(&location, &digest, b"a layer").await;
    assert_eq!(finished.status(), 201);
    assert_eq!(header(finished.headers(), "docker-content-digest"), digest.to_string());
    let blob = header(finished.headers(), "location");
    assert_eq!(owner.at(Method::GET, &blob).send().await.unwrap().text().await.unwrap(), "a layer");
    assert_eq!(fixture.files(), (1, 0), "the upload is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_pushed_by_a_single_post() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let path = format!("blobs/uploads/?digest={}", digest(b"at once"));
    let made = owner.request(Method::POST, &path).body("at once").send().await.unwrap();
    assert_eq!(made.status(), 201);
    assert_eq!(owner.head(&format!("blobs/{}", digest(b"at once"))).await.status(), 200);
    let wrong = owner.request(Method::POST, &path).body("something else").send().await.unwrap();
    assert_eq!(error(wrong).await.1, "DIGEST_INVALID");
    assert_eq!(fixture.files(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_pushed_in_chunks_and_in_no_other_order() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    let gap = owner.chunk(&location, 4, b"four").await;
    assert_eq!(gap.status(), 416, "the first chunk starts at 0");
    assert_eq!(header(gap.headers(), "location"), location);

    let taken = owner.chunk(&location, 0, b"one ").await;
    assert_eq!((taken.status().as_u16(), header(taken.headers(), "range")), (202, "0-3".to_owned()));
    assert_eq!(owner.chunk(&location, 0, b"one ").await.status(), 416, "a chunk that came already");
    let gap = owner.chunk(&location, 5, b"gap").await;
    assert_eq!((gap.status().as_u16(), header(gap.headers(), "range")), (416, "0-3".to_owned()));

    let status = owner.at(Method::GET, &location).send().await.unwrap();
    assert_eq!((status.status().as_u16(), header(status.headers(), "range")), (204, "0-3".to_owned()));
    assert_eq!(header(status.headers(), "location"), location);

    assert_eq!(owner.chunk(&location, 4, b"two ").await.status(), 202);
    let whole = digest(b"one two three");
    let last = owner.at(Method::PUT, &format!("{location}?digest={whole}"));
    let early = last.try_clone().unwrap().header("content-range", "9-13").body("three").send().await.unwrap();
    assert_eq!(early.status(), 416, "the last chunk must follow as well");
    let finished = last.header("content-range", "8-12").body("three").send().await.unwrap();
    assert_eq!(finished.status(), 201);
    assert_eq!(owner.get(&format!("blobs/{whole}")).await.text().await.unwrap(), "one two three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_contradicts_its_range_is_not_taken() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    let wrong = owner.at(Method::PATCH, &location).header("content-range", "0-9").body("four");
    assert_eq!(error(wrong.send().await.unwrap()).await.1, "SIZE_INVALID");
    // Without a length up front it shows only at the end.
    for (range, content) in [("0-9", "four"), ("0-1", "four")] {
        let pieces = [Ok::<_, std::io::Error>(content)];
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let wrong = owner.at(Method::PATCH, &location).header("content-range", range).body(body);
        assert_eq!(error(wrong.send().await.unwrap()).await.1, "SIZE_INVALID", "{range}");
    }
    let nonsense = owner.at(Method::PATCH, &location).header("content-range", "four").body("four");
    assert_eq!(error(nonsense.send().await.unwrap()).await.1, "BLOB_UPLOAD_INVALID");
    assert_eq!(owner.chunk(&location, 0, b"four").await.status(), 202, "nothing of all this was kept");
    assert_eq!(owner.finish(&location, &digest(b"four"), b"").await.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_refused_and_ends_the_upload() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    let refused = owner.finish(&location, &digest(b"what was meant"), b"what came").await;
    let (status, code, message) = error(refused).await;
    assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"));
    assert!(message.contains(&digest(b"what came").to_string()), "{message}");
    assert_eq!(fixture.files(), (0, 0));
    let over = owner.finish(&location, &digest(b"what came"), b"what came").await;
    assert_eq!(error(over).await.1, "BLOB_UPLOAD_UNKNOWN");

    let location = owner.start().await;
    for (parameter, code) in [
        ("", "DIGEST_INVALID"),
        ("?digest=sha256:abc", "DIGEST_INVALID"),
        ("?digest=md5:1", "DIGEST_INVALID"),
    ] {
        let refused = owner.at(Method::PUT, &format!("{location}{parameter}")).send().await.unwrap();
        assert_eq!(error(refused).await.1, code, "{parameter}");
    }
    assert_eq!(owner.finish(&location, &digest(b"right"), b"right").await.status(), 201, "it isn't over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_may_be_known_by_sha512() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let long = Algorithm::Sha512.of(b"a layer");
    let location = owner.start().await;
    assert_eq!(owner.finish(&location, &long, b"a layer").await.status(), 201);
    assert_eq!(owner.get(&format!("blobs/{long}")).await.text().await.unwrap(), "a layer");
    let location = owner.start().await;
    assert_eq!(owner.finish(&location, &long, b"another").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    let mut fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let location = {
        let owner = fixture.owner(path.universal());
        let location = owner.start().await;
        assert_eq!(owner.chunk(&location, 0, b"before ").await.status(), 202);
        location
    };
    fixture.restart().await;
    let owner = fixture.owner(path.universal());
    let status = owner.at(Method::GET, &location).send().await.unwrap();
    assert_eq!((status.status().as_u16(), header(status.headers(), "range")), (204, "0-6".to_owned()));
    assert_eq!(owner.chunk(&location, 7, b"and after").await.status(), 202);
    let finished = owner.finish(&location, &digest(b"before and after"), b"").await;
    assert_eq!(finished.status(), 201, "the digest is made of the file, for the memory is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_body_broke_off_stays() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    assert!(owner.at(Method::PATCH, &location).body(broken(b"half of ")).send().await.is_err());
    let status = owner.at(Method::GET, &location).send().await.unwrap();
    assert_eq!(header(status.headers(), "range"), "0-7");
    assert_eq!(owner.chunk(&location, 8, b"a layer").await.status(), 202);
    assert_eq!(owner.finish(&location, &digest(b"half of a layer"), b"").await.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_can_be_cancelled() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    owner.chunk(&location, 0, b"some").await;
    assert_eq!(owner.at(Method::DELETE, &location).send().await.unwrap().status(), 204);
    assert_eq!(fixture.files(), (0, 0));
    for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
        let digest = digest(b"");
        let gone = owner.at(method.clone(), &format!("{location}?digest={digest}")).send().await.unwrap();
        assert_eq!(
            error(gone).await,
            (
                404,
                "BLOB_UPLOAD_UNKNOWN".into(),
                "there is no such upload, or not any more; start a new one".into()
            ),
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_belongs_to_its_repository() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let other = fixture.owner(path.of(ImageQualifier::Lobby));
    let location = owner.start().await.replace("/universal/", "/lobby/");
    let stolen = other.at(Method::PATCH, &location).body("mine").send().await.unwrap();
    assert_eq!(error(stolen).await.1, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_larger_than_allowed_is_refused() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let location = owner.start().await;
    let piece = bytes::Bytes::from(vec![7u8; 1 << 20]);
    let pieces = futures_util::stream::iter((0..81).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
    let sent = owner.at(Method::PATCH, &location).body(reqwest::Body::wrap_stream(pieces)).send().await;
    // The server may answer before the body is sent, which a client may take for a broken
    // connection.
    if let Ok(refused) = sent {
        assert_eq!(refused.status(), 413);
    }
    let status = owner.at(Method::GET, &location).send().await.unwrap();
    assert_eq!(header(status.headers(), "range"), "0-0", "nothing of it is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_mounted_from_a_repository_that_the_token_may_pull() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (from, to) = (path.of(ImageQualifier::Lobby), path.of(ImageQualifier::Match));
    let digest = fixture.owner(from).blob(b"shared").await;
    let path = format!("blobs/uploads/?mount={digest}&from={from}");

    let only_to = fixture.owner(to);
    let started = only_to.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(started.status(), 202, "without the right to pull `from` it is an upload like any other");
    assert_eq!(only_to.head(&format!("blobs/{digest}")).await.status(), 404);

    let mut both = fixture.owner(to);
    both.token = fixture.token(&[from, to], "pull,push");
    let mounted = both.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(mounted.status(), 201);
    assert_eq!(header(mounted.headers(), "location"), format!("/v2/{to}/blobs/{digest}"));
    assert_eq!(both.get(&format!("blobs/{digest}")).await.text().await.unwrap(), "shared");

    let unknown = format!("blobs/uploads/?mount={}&from={from}", crate::fixture::digest(b"unknown"));
    let started = both.request(Method::POST, &unknown).send().await.unwrap();
    assert_eq!(started.status(), 202);
    assert!(!header(started.headers(), "location").is_empty());
    let alone = format!("blobs/uploads/?mount={digest}");
    assert_eq!(both.request(Method::POST, &alone).send().await.unwrap().status(), 202);
}
