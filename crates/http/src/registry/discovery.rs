//! Lists: tags of a repository, and what refers to a manifest.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderName},
};
use omgservers_api::Problem;
use omgservers_registry::{Digest, OCI_INDEX, problems};
use omgservers_versions::Repository;
use serde_json::json;

use super::{
    Asked,
    answer::{Answered, first, pairs},
};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn tags(asked: &Asked<'_>, repository: &Repository) -> Answered {
    let query = pairs(asked.request.query_string());
    let count = first(&query, "n")
        .map(|it| it.parse::<usize>().map_err(|_number| Problem::from(problems::PAGE_INVALID)))
        .transpose()?;
    let page = asked.registry.tags(repository, count, first(&query, "last")).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = page.tags.last().filter(|_| page.more) {
        let count = page.tags.len();
        response.insert_header((
            header::LINK,
            next(&format!("/v2/{repository}/tags/list?n={count}&last={last}")),
        ));
    }
    Ok(response.json(json!({"name": repository.to_string(), "tags": page.tags})))
}

pub(super) async fn referrers(asked: &Asked<'_>, repository: &Repository, digest: &str) -> Answered {
    let subject: Digest = digest.parse()?;
    let query = pairs(asked.request.query_string());
    let kind = first(&query, "artifactType").filter(|it| !it.is_empty());
    let page = asked.registry.referrers(repository, &subject, kind, first(&query, "last")).await?;
    let mut response = HttpResponse::Ok();
    if kind.is_some() {
        response.insert_header((FILTERS_APPLIED, "artifactType"));
    }
    if let Some(last) = page.more {
        let kind = kind.map(|it| format!("&artifactType={}", encoded(it))).unwrap_or_default();
        let url = format!("/v2/{repository}/referrers/{subject}?last={last}{kind}");
        response.insert_header((header::LINK, next(&url)));
    }
    Ok(response.content_type(OCI_INDEX).body(page.index.to_string()))
}

fn next(url: &str) -> String {
    format!("<{url}>; rel=\"next\"")
}

/// A text as the value of a parameter.
fn encoded(text: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
    text.bytes().map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") }).collect()
}
