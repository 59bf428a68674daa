//! Uploads of blobs.

use std::ops::Range;

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderName},
    web,
};
use omgservers_api::Problem;
use omgservers_registry::{Action, Appended, Digest, Progress, chunk, problems, repository};
use omgservers_versions::Repository;

use super::{
    Asked,
    answer::{Answered, CONTENT_DIGEST, Refused, UPLOAD_ID, first, pairs},
};

pub(super) async fn start(asked: &Asked<'_>, repository: &Repository, payload: web::Payload) -> Answered {
    let query = pairs(asked.request.query_string());
    if let Some(digest) = mount(asked, repository, &query).await? {
        return Ok(made(repository, &digest));
    }
    let digest = first(&query, "digest").map(str::parse::<Digest>).transpose()?;
    let progress = asked.registry.start_upload(repository).await?;
    match digest {
        None => Ok(going_on(HttpResponse::Accepted(), repository, &progress)),
        Some(digest) => {
            let range = first_range(asked)?;
            close(asked, repository, &progress.id, range, &digest, payload).await
        }
    }
}

/// The blob, if another repository gave it.
async fn mount(
    asked: &Asked<'_>,
    target: &Repository,
    query: &[(String, String)],
) -> Result<Option<Digest>, Refused> {
    let (Some(digest), Some(from)) = (first(query, "mount"), first(query, "from")) else { return Ok(None) };
    let digest: Digest = digest.parse()?;
    // Without the right to read the other repository it is as if that didn't have the blob.
    let Ok(other) = repository(from) else { return Ok(None) };
    if !asked.auth.allows(from, Action::Pull) {
        return Ok(None);
    }
    Ok(asked.registry.mount(target, &other, &digest).await?.then_some(digest))
}

pub(super) async fn append(
    asked: &Asked<'_>,
    repository: &Repository,
    id: &str,
    payload: web::Payload,
) -> Answered {
    let range = first_range(asked)?;
    match asked.registry.append(repository, id, range, payload).await? {
        Appended::Taken(progress) => Ok(going_on(HttpResponse::Accepted(), repository, &progress)),
        Appended::Gap(progress) => Ok(going_on(HttpResponse::RangeNotSatisfiable(), repository, &progress)),
    }
}

pub(super) async fn finish(
    asked: &Asked<'_>,
    repository: &Repository,
    id: &str,
    payload: web::Payload,
) -> Answered {
    let query = pairs(asked.request.query_string());
    let digest = first(&query, "digest")
        .ok_or_else(|| problems::DIGEST_INVALID.detail("the parameter `digest` is missing"))?
        .parse::<Digest>()?;
    let range = first_range(asked)?;
    close(asked, repository, id, range, &digest, payload).await
}

async fn close(
    asked: &Asked<'_>,
    repository: &Repository,
    id: &str,
    range: Option<Range<u64>>,
    digest: &Digest,
    payload: web::Payload,
) -> Answered {
    if length(asked) != Some(0) {
        let appended = asked.registry.append(repository, id, range, payload).await?;
        if let Appended::Gap(progress) = appended {
            return Ok(going_on(HttpResponse::RangeNotSatisfiable(), repository, &progress));
        }
    }
    asked.registry.finish_upload(repository, id, digest).await?;
    Ok(made(repository, digest))
}

pub(super) async fn show(asked: &Asked<'_>, repository: &Repository, id: &str) -> Answered {
    let progress = asked.registry.upload(repository, id).await?;
    Ok(going_on(HttpResponse::NoContent(), repository, &progress))
}

pub(super) async fn cancel(asked: &Asked<'_>, repository: &Repository, id: &str) -> Answered {
    asked.registry.cancel_upload(repository, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Where the first byte of the body belongs, if the client says so.
fn first_range(asked: &Asked<'_>) -> Result<Option<Range<u64>>, Problem> {
    let Some(value) = asked.request.headers().get(header::CONTENT_RANGE) else { return Ok(None) };
    let range = chunk(value.to_str().unwrap_or_default())?;
    match length(asked) {
        Some(length) if range.end.saturating_sub(range.start) != length => {
            Err(problems::SIZE_INVALID.detail("`Content-Length` and `Content-Range` contradict each other"))
        }
        _ => Ok(Some(range)),
    }
}

fn length(asked: &Asked<'_>) -> Option<u64> {
    asked.request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How far the upload is, and where it goes on.
fn going_on(
    mut response: actix_web::HttpResponseBuilder,
    repository: &Repository,
    progress: &Progress,
) -> HttpResponse {
    let Progress { id, size } = progress;
    response
        .insert_header((header::LOCATION, format!("/v2/{repository}/blobs/uploads/{id}")))
        // The first byte and the last one; clients expect `0-0` before there is any.
        .insert_header((header::RANGE, format!("0-{}", size.saturating_sub(1))))
        .insert_header((UPLOAD_ID, id.as_str()))
        .finish()
}

fn made(repository: &Repository, digest: &Digest) -> HttpResponse {
    let digest = digest.to_string();
    let location: (HeaderName, String) = (header::LOCATION, format!("/v2/{repository}/blobs/{digest}"));
    HttpResponse::Created().insert_header(location).insert_header((CONTENT_DIGEST, digest)).finish()
}
