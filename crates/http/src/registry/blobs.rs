//! Blobs.

use actix_web::{HttpResponse, body::SizedStream, http::Method, http::header};
use bytes::Bytes;
use futures_util::stream;
use omgservers_registry::{Digest, Wanted, wanted};
use omgservers_versions::Repository;

use super::{
    Asked,
    answer::{Answered, CONTENT_DIGEST},
};

pub(super) async fn get(asked: &Asked<'_>, repository: &Repository, digest: &str) -> Answered {
    let digest: Digest = digest.parse()?;
    let blob = asked.registry.blob(repository, &digest).await?;
    let size = blob.size();
    let range = asked.request.headers().get(header::RANGE).and_then(|it| it.to_str().ok());
    let (mut response, part) = match wanted(range, size) {
        Wanted::All => (HttpResponse::Ok(), 0..size),
        Wanted::Part(part) => {
            let mut response = HttpResponse::PartialContent();
            let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            response.insert_header((header::CONTENT_RANGE, range));
            (response, part)
        }
        Wanted::Nothing => {
            let range = (header::CONTENT_RANGE, format!("bytes */{size}"));
            return Ok(HttpResponse::RangeNotSatisfiable().insert_header(range).finish());
        }
    };
    response
        .insert_header((CONTENT_DIGEST, digest.to_string()))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, format!("\"{digest}\"")))
        .insert_header((header::CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .content_type("application/octet-stream");
    let length = part.end.saturating_sub(part.start);
    if asked.request.method() == Method::HEAD {
        let nothing = stream::empty::<Result<Bytes, std::io::Error>>();
        return Ok(response.body(SizedStream::new(length, nothing)));
    }
    Ok(response.body(SizedStream::new(length, blob.read(part).await?)))
}

pub(super) async fn delete(asked: &Asked<'_>, repository: &Repository, digest: &str) -> Answered {
    asked.registry.delete_blob(repository, &digest.parse()?).await?;
    Ok(HttpResponse::Accepted().finish())
}
