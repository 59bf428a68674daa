//! Manifests: images and indexes, of OCI and of Docker.

use std::collections::BTreeMap;

use omgservers_api::Problem;
use serde::Deserialize;

use super::digest::Digest;
use crate::problems;

/// Largest manifest, bytes. Clients may count on this much.
pub const MOST_MANIFEST_BYTES: usize = 4 << 20;
/// Longest media type, bytes: two names of 127.
const LONGEST_MEDIA_TYPE: usize = 255;
/// Most parts of one manifest.
const MOST_PARTS: usize = 10_000;

/// The media type of an OCI index, which is also what referrers are listed in.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What the registry has to know of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// Blobs that the repository must have: digest and size.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Manifests that the repository must have: those of an index.
    pub(crate) manifests: Vec<(Digest, u64)>,
    /// The manifest that this one says something about; it may be missing.
    pub(crate) subject: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    subject: Option<WireDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl WireDescriptor {
    fn read(&self) -> Result<(Digest, u64), Problem> {
        Ok((self.digest.parse()?, self.size))
    }

    /// Layers that may not be distributed stay where their URLs say.
    fn is_elsewhere(&self) -> bool {
        let kind = self.media_type.as_deref().unwrap_or_default();
        let foreign = kind.contains(".foreign.") || kind.contains(".nondistributable.");
        foreign && self.urls.as_ref().is_some_and(|it| !it.is_empty())
    }
}

/// Reads a manifest. `content_type` is the header of the request. Problems:
/// `registry.manifest_invalid`, `registry.digest_invalid`, `registry.too_large`.
pub(crate) fn parse(content_type: Option<&str>, content: &[u8]) -> Result<Manifest, Problem> {
    if content.len() > MOST_MANIFEST_BYTES {
        return Err(problems::TOO_LARGE.detail(format!("a manifest has at most {MOST_MANIFEST_BYTES} bytes")));
    }
    let wire: Wire =
        serde_json::from_slice(content).map_err(|it| invalid(format!("this isn't a manifest: {it}")))?;
    let media_type = media_type(content_type, wire.media_type.as_deref())?;
    if wire.schema_version != Some(2) {
        return Err(invalid("`schemaVersion` must be 2"));
    }
    let index = match media_type {
        OCI_IMAGE | DOCKER_IMAGE => false,
        OCI_INDEX | DOCKER_LIST => true,
        other => return Err(invalid(format!("the media type {other:?} isn't supported"))),
    };
    let (blobs, manifests) = if index { of_index(&wire)? } else { of_image(&wire)? };
    let config_type = wire.config.as_ref().and_then(|it| it.media_type.clone()).filter(|_| !index);
    let artifact_type = wire.artifact_type.filter(|it| !it.is_empty()).or(config_type);
    if artifact_type.as_deref().is_some_and(|it| !is_media_type(it)) {
        return Err(invalid("`artifactType` and the `mediaType` of `config` must be media types"));
    }
    // PostgreSQL has no NUL in a text.
    if wire.annotations.iter().flatten().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
        return Err(invalid("`annotations` must be without NUL"));
    }
    Ok(Manifest {
        media_type: media_type.to_owned(),
        blobs,
        manifests,
        subject: wire.subject.as_ref().map(|it| it.digest.parse()).transpose()?,
        artifact_type,
        annotations: wire.annotations,
    })
}

/// Whether a text can be a media type. Less than the grammar says is asked for, so that odd ones of
/// other tools pass.
pub(crate) fn is_media_type(text: &str) -> bool {
    (1..=LONGEST_MEDIA_TYPE).contains(&text.len()) && text.bytes().all(|it| (b' '..=b'~').contains(&it))
}

type ManifestParts = (Vec<(Digest, u64)>, Vec<(Digest, u64)>);

fn of_image(wire: &Wire) -> Result<ManifestParts, Problem> {
    // One document that is both would be two things under one digest.
    if wire.manifests.is_some() {
        return Err(invalid("an image has no `manifests`"));
    }
    let config = wire.config.as_ref().ok_or_else(|| invalid("an image has a `config`"))?;
    let layers = wire.layers.as_deref().ok_or_else(|| invalid("an image has `layers`"))?;
    few(layers)?;
    let here = layers.iter().filter(|it| !it.is_elsewhere());
    let blobs = std::iter::once(config).chain(here).map(WireDescriptor::read).collect::<Result<_, _>>()?;
    Ok((blobs, Vec::new()))
}

fn of_index(wire: &Wire) -> Result<ManifestParts, Problem> {
    if wire.config.is_some() || wire.layers.is_some() {
        return Err(invalid("an index has no `config` and no `layers`"));
    }
    let parts = wire.manifests.as_deref().ok_or_else(|| invalid("an index has `manifests`"))?;
    few(parts)?;
    Ok((Vec::new(), parts.iter().map(WireDescriptor::read).collect::<Result<_, _>>()?))
}

fn few(parts: &[WireDescriptor]) -> Result<(), Problem> {
    if parts.len() > MOST_PARTS { Err(invalid(format!("more than {MOST_PARTS} parts"))) } else { Ok(()) }
}

fn media_type<'a>(header: Option<&'a str>, body: Option<&'a str>) -> Result<&'a str, Problem> {
    let bare = |it: &'a str| it.split_once(';').map_or(it, |(kind, _)| kind).trim();
    match (header.map(bare).filter(|it| !it.is_empty()), body) {
        (Some(header), Some(body)) if header != body => {
            Err(invalid(format!("the `Content-Type` {header:?} isn't the `mediaType` {body:?}")))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        (None, None) => Err(invalid("the `Content-Type` must be the manifest's media type")),
    }
}

fn invalid(reason: impl Into<String>) -> Problem {
    problems::MANIFEST_INVALID.detail(reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::rules::digest::Algorithm;

    fn part(kind: &str) -> serde_json::Value {
        json!({"mediaType": kind, "digest": Algorithm::Sha256.of(kind.as_bytes()).to_string(), "size": 3})
    }

    #[test]
    fn an_image_names_its_blobs_and_takes_its_artifact_type_from_the_config() {
        let body = json!({
            "schemaVersion": 2, "mediaType": OCI_IMAGE, "config": part("a/config"),
            "layers": [part("a/layer"), {
                "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                "digest": Algorithm::Sha256.of(b"far").to_string(), "size": 9, "urls": ["https://example.org/l"],
            }],
            "subject": part("a/subject"), "annotations": {"a": "b"},
        });
        let read = parse(Some(&format!("{OCI_IMAGE}; charset=utf-8")), body.to_string().as_bytes()).unwrap();
        assert_eq!(read.blobs.len(), 2, "a layer that lives elsewhere isn't asked for");
        assert_eq!(read.artifact_type.as_deref(), Some("a/config"));
        assert_eq!(read.subject, Some(Algorithm::Sha256.of(b"a/subject")));
        assert_eq!(read.annotations.unwrap().get("a").unwrap(), "b");
    }

    #[test]
    fn an_index_names_its_manifests() {
        let body = json!({"schemaVersion": 2, "manifests": [part("a/one")], "artifactType": "a/type"});
        let read = parse(Some(OCI_INDEX), body.to_string().as_bytes()).unwrap();
        assert_eq!((read.blobs.len(), read.manifests.len()), (0, 1));
        assert_eq!(read.artifact_type.as_deref(), Some("a/type"));
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        let image = json!({"schemaVersion": 2, "config": part("c"), "layers": []});
        let both = json!({"schemaVersion": 2, "config": part("c"), "layers": [], "manifests": []});
        let one = json!({"schemaVersion": 1, "config": part("c"), "layers": []});
        let with = |key: &str, value: serde_json::Value| {
            let mut image = image.clone();
            image[key] = value;
            image
        };
        let typed = json!({"schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": part("c"), "layers": []});
        for (kind, body, word) in [
            (Some(OCI_IMAGE), json!("hello"), "isn't a manifest"),
            (None, image.clone(), "Content-Type"),
            (Some("text/plain"), image.clone(), "text/plain"),
            (Some(OCI_INDEX), image.clone(), "`config`"),
            (Some(OCI_IMAGE), both, "`manifests`"),
            (Some(OCI_IMAGE), one, "schemaVersion"),
            (Some(OCI_IMAGE), typed, "mediaType"),
            (Some(OCI_IMAGE), json!({"schemaVersion": 2, "layers": []}), "`config`"),
            (Some(OCI_IMAGE), with("artifactType", json!("a/b\u{0}")), "`artifactType`"),
            (Some(OCI_IMAGE), with("artifactType", json!("a".repeat(256))), "`artifactType`"),
            (Some(OCI_IMAGE), with("config", part("a/b\u{0}")), "`artifactType`"),
            (Some(OCI_IMAGE), with("annotations", json!({"a": "b\u{0}"})), "`annotations`"),
            (Some(OCI_IMAGE), with("annotations", json!({"a\u{0}": "b"})), "`annotations`"),
        ] {
            let refused = parse(kind, body.to_string().as_bytes()).unwrap_err();
            assert!(
                refused.is(problems::MANIFEST_INVALID) && refused.sentence().contains(word),
                "{refused:?}"
            );
        }
        let large = vec![b' '; MOST_MANIFEST_BYTES + 1];
        assert!(parse(Some(OCI_IMAGE), &large).unwrap_err().is(problems::TOO_LARGE));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(kind in "\\PC{0,30}", body in "\\PC{0,200}") {
            let _ = parse(Some(&kind), body.as_bytes());
        }
    }
}
