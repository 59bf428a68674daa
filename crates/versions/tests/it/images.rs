use std::{sync::Arc, time::Duration};

use omgservers_api::{Kind, ProjectId, VersionId, ids::Id as _, problem::codes, roles::ImageQualifier};
use omgservers_core::{Clock as _, existing};
use omgservers_fixtures::{Fixture, StagePath, support, was_rung};
use omgservers_versions::{PinnedImage, Repository, Versions as _, problems};
use tokio::task::JoinSet;

fn repository(path: StagePath, qualifier: ImageQualifier) -> String {
    Repository { tenant: path.tenant, project: path.project, qualifier }.to_string()
}

fn digest(of: u8) -> String {
    format!("sha256:{}", format!("{of:02x}").repeat(32))
}

#[tokio::test]
async fn a_pushed_image_is_shown_with_repository_tag_and_digest() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let into = repository(path, ImageQualifier::Universal);
    assert_eq!(into, format!("omgservers/{}/{}/universal", path.tenant, path.project));
    fixture.versions.attach_image(&into, &id.to_string(), &digest(1)).await.unwrap();
    let (_, images) = fixture.versions.get(&support(), path.tenant, id).await.unwrap();
    let [image] = images.as_slice() else { panic!("one image, not {images:?}") };
    assert_eq!(image.image_id, format!("{into}:{id}"));
    assert_eq!((image.tenant_id, image.version_id), (path.tenant, id));
    assert_eq!((image.qualifier, image.digest.as_str()), (ImageQualifier::Universal, digest(1).as_str()));
    assert_eq!(image.created, fixture.foundation.clock.now());
    assert_eq!(image.id.slot(), path.project.slot());
    let pinned = PinnedImage { qualifier: image.qualifier, repository: into, digest: digest(1) };
    assert_eq!(fixture.versions.images(id).await.unwrap(), [pinned]);
    assert!(!was_rung(&fixture.version_deleted).await, "a push deletes nothing");
}

#[tokio::test]
async fn a_second_push_replaces_the_image_of_its_kind_only() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let push = async |qualifier, of| {
        fixture
            .versions
            .attach_image(&repository(path, qualifier), &id.to_string(), &digest(of))
            .await
            .unwrap();
        fixture.foundation.clock.advance(Duration::from_secs(1));
        fixture.versions.get(&support(), path.tenant, id).await.unwrap().1
    };
    push(ImageQualifier::Lobby, 1).await;
    let first = push(ImageQualifier::Match, 2).await;
    assert_eq!(first.len(), 2);
    let second = push(ImageQualifier::Lobby, 3).await;
    assert_eq!(second.len(), 2, "{second:?}");
    let of = |images: &[omgservers_api::details::Image], qualifier| {
        images.iter().find(|it| it.qualifier == qualifier).unwrap().clone()
    };
    let (old, replaced) = (of(&first, ImageQualifier::Lobby), of(&second, ImageQualifier::Lobby));
    assert_eq!((replaced.id, replaced.digest), (old.id, digest(3)));
    assert!(replaced.created > old.created);
    assert_eq!(of(&first, ImageQualifier::Match), of(&second, ImageQualifier::Match));
    assert_eq!(push(ImageQualifier::Lobby, 3).await, second, "the same push once more changes nothing");
}

#[tokio::test]
async fn an_image_is_not_attached_to_a_version_of_another_project() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let (neighbour, stranger) = (fixture.stage_in(path.tenant).await, fixture.stage().await);
    let mixed = StagePath { tenant: stranger.tenant, ..path };
    let unknown = StagePath { project: ProjectId::from_i64(i64::MAX).unwrap(), ..path };
    for wrong in [neighbour, stranger, mixed, unknown] {
        let into = repository(wrong, ImageQualifier::Universal);
        let refused = fixture.versions.attach_image(&into, &id.to_string(), &digest(1)).await.unwrap_err();
        assert!(refused.is(problems::FOREIGN_PROJECT), "{refused:?}");
        assert_eq!(refused.kind(), Kind::Forbidden);
    }
    assert_eq!(fixture.versions.images(id).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_no_image_of_ours_is_refused() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await.to_string();
    let ours = repository(path, ImageQualifier::Universal);
    let unknown = VersionId::from_i64(i64::MAX).unwrap().to_string();
    for (into, tag, of, problem) in [
        ("library/nginx", id.as_str(), digest(1), problems::REPOSITORY),
        (&ours.replace("universal", "other"), &id, digest(1), problems::REPOSITORY),
        (&ours, "latest", digest(1), problems::NOT_FOUND),
        (&ours, &format!("0{id}"), digest(1), problems::NOT_FOUND),
        (&ours, &unknown, digest(1), problems::NOT_FOUND),
        (&ours, &id, "sha256:abc".to_owned(), codes::VALIDATION),
    ] {
        let refused = fixture.versions.attach_image(into, tag, &of).await.unwrap_err();
        assert!(refused.is(problem), "{into}:{tag} {refused:?}");
    }
    assert_eq!(fixture.versions.images(id.parse().unwrap()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_at_the_same_time_leave_one_image_of_a_kind() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let id = fixture.version(path).await;
    let versions = Arc::new(fixture.versions_on(&fixture.foundation.test_db.pool(8).await));
    let mut pushes = JoinSet::new();
    for of in 0..16 {
        let (versions, into) = (Arc::clone(&versions), repository(path, ImageQualifier::Lobby));
        pushes.spawn(async move { versions.attach_image(&into, &id.to_string(), &digest(of)).await });
    }
    for pushed in pushes.join_all().await {
        pushed.unwrap();
    }
    assert_eq!(fixture.versions.images(id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_push_never_brings_a_deleted_version_back() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let versions = Arc::new(fixture.versions_on(&fixture.foundation.test_db.pool(8).await));
    for _ in 0..20 {
        let id = fixture.version(path).await;
        let mut pushes = JoinSet::new();
        for of in 0..4 {
            let (versions, into) = (Arc::clone(&versions), repository(path, ImageQualifier::Match));
            pushes.spawn(async move { versions.attach_image(&into, &id.to_string(), &digest(of)).await });
        }
        assert!(versions.delete(&support(), path.tenant, id).await.unwrap());
        for pushed in pushes.join_all().await {
            let refused = pushed.err();
            assert!(refused.as_ref().is_none_or(|it| it.is(problems::NOT_FOUND)), "{refused:?}");
        }
        assert_eq!(versions.images(id).await.unwrap(), []);
        assert!(existing(&versions.exist(&[id]).await.unwrap()).is_empty());
        let (into, tag) = (repository(path, ImageQualifier::Match), id.to_string());
        let late = versions.attach_image(&into, &tag, &digest(9)).await;
        assert!(late.unwrap_err().is(problems::NOT_FOUND));
    }
}
