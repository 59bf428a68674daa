//! Push events of a registry outside of this process. Whoever calls has authenticated the sender.

use omgservers_api::{Kind, Problem};
use serde::Deserialize;

use crate::{Digest, Registry, rules::name};

/// What a registry tells: `application/vnd.docker.distribution.events.v1+json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Events {
    /// In the order in which they happened.
    pub events: Vec<ContentEvent>,
}

/// Something happened to content.
#[derive(Debug, Clone, Deserialize)]
pub struct ContentEvent {
    /// `push`, `pull`, `mount`, `delete`.
    pub action: String,
    /// To what.
    #[serde(default)]
    pub target: EventTarget,
}

/// What it happened to.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct EventTarget {
    /// Without the host.
    #[serde(default)]
    pub repository: String,
    /// Absent for layers.
    #[serde(default)]
    pub tag: Option<String>,
    /// Of the manifest.
    #[serde(default)]
    pub digest: Option<String>,
}

impl Registry {
    /// Attaches the images that were pushed with a tag to their versions, and returns how many. An
    /// image that no version takes is logged and left out: the other registry would send it again
    /// and again. So only a failure that may work later is a problem.
    pub async fn attach_pushed(&self, events: &Events) -> Result<usize, Problem> {
        let mut attached = 0;
        for ContentEvent { target, .. } in events.events.iter().filter(|it| it.action == "push") {
            let (Some(tag), Some(digest)) = (&target.tag, &target.digest) else { continue };
            if !name::names_version(tag) {
                tracing::debug!(repository = target.repository, tag, "a tag that is no version was pushed");
                continue;
            }
            if digest.parse::<Digest>().is_err() || name::repository(&target.repository).is_err() {
                tracing::warn!(
                    repository = target.repository,
                    tag,
                    digest,
                    "a push event names no image of ours"
                );
                continue;
            }
            match self.inner.versions.attach_image(&target.repository, tag, digest).await {
                Ok(()) => attached += 1,
                Err(problem) if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) => {
                    return Err(problem);
                }
                Err(problem) => {
                    tracing::warn!(
                        repository = target.repository,
                        tag,
                        ?problem,
                        "a pushed image is left out"
                    );
                }
            }
        }
        Ok(attached)
    }
}
