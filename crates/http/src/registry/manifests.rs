//! Manifests.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderName},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use omgservers_api::{Problem, problem::codes};
use omgservers_registry::{MOST_MANIFEST_BYTES, problems};
use omgservers_versions::Repository;

use super::{
    Asked,
    answer::{Answered, CONTENT_DIGEST},
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(asked: &Asked<'_>, repository: &Repository, reference: &str) -> Answered {
    let found = asked.registry.manifest(repository, reference).await?;
    let digest = found.digest.to_string();
    Ok(HttpResponse::Ok()
        .content_type(found.media_type)
        .insert_header((header::ETAG, format!("\"{digest}\"")))
        .insert_header((CONTENT_DIGEST, digest))
        .body(found.content))
}

pub(super) async fn put(
    asked: &Asked<'_>,
    repository: &Repository,
    reference: &str,
    payload: web::Payload,
) -> Answered {
    let kind = asked.request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let content = read(payload, MOST_MANIFEST_BYTES).await?;
    let accepted = asked.registry.put_manifest(repository, reference, kind, content).await?;
    let digest = accepted.digest.to_string();
    let mut response = HttpResponse::Created();
    if let Some(subject) = accepted.subject {
        response.insert_header((SUBJECT, subject.to_string()));
    }
    Ok(response
        .insert_header((header::LOCATION, format!("/v2/{repository}/manifests/{digest}")))
        .insert_header((CONTENT_DIGEST, digest))
        .finish())
}

pub(super) async fn delete(asked: &Asked<'_>, repository: &Repository, reference: &str) -> Answered {
    asked.registry.delete_manifest(repository, reference).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// A small body as a whole.
pub(super) async fn read(mut payload: web::Payload, most: usize) -> Result<Bytes, Problem> {
    let mut content = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|it| codes::WRONG_REQUEST.detail("the body broke off").because(it))?;
        if content.len().saturating_add(piece.len()) > most {
            return Err(problems::TOO_LARGE.detail(format!("the body has more than {most} bytes")));
        }
        content.extend_from_slice(&piece);
    }
    Ok(content.freeze())
}
