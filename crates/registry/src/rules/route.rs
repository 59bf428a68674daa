//! Which part of the API a path below `/v2/` is. Names have slashes, so a path is read from its
//! end.

/// A part of the distribution API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v2/`: is there a registry, and who asks?
    Base,
    /// `<name>/blobs/<digest>`.
    Blob {
        /// The repository.
        name: &'a str,
        /// Which one.
        digest: &'a str,
    },
    /// `<name>/blobs/uploads/`.
    Uploads {
        /// The repository.
        name: &'a str,
    },
    /// `<name>/blobs/uploads/<id>`.
    Upload {
        /// The repository.
        name: &'a str,
        /// Which one.
        id: &'a str,
    },
    /// `<name>/manifests/<tag or digest>`.
    Manifest {
        /// The repository.
        name: &'a str,
        /// Which one.
        reference: &'a str,
    },
    /// `<name>/tags/list`.
    Tags {
        /// The repository.
        name: &'a str,
    },
    /// `<name>/referrers/<digest>`.
    Referrers {
        /// The repository.
        name: &'a str,
        /// The manifest that is referred to.
        digest: &'a str,
    },
}

impl<'a> Route<'a> {
    /// Reads what follows `/v2/`.
    pub fn parse(path: &'a str) -> Option<Self> {
        if path.is_empty() {
            return Some(Self::Base);
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Some(Self::Tags { name });
        }
        if let Some(name) =
            path.strip_suffix("/blobs/uploads").or_else(|| path.strip_suffix("/blobs/uploads/"))
        {
            return Some(Self::Uploads { name });
        }
        let (before, last) = path.rsplit_once('/').filter(|it| !it.1.is_empty())?;
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Some(Self::Upload { name, id: last });
        }
        let (name, noun) = before.rsplit_once('/')?;
        match noun {
            "blobs" => Some(Self::Blob { name, digest: last }),
            "manifests" => Some(Self::Manifest { name, reference: last }),
            "referrers" => Some(Self::Referrers { name, digest: last }),
            _ => None,
        }
    }

    /// The repository that it is about.
    pub const fn name(&self) -> Option<&'a str> {
        match *self {
            Self::Base => None,
            Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Manifest { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_may_look_like_parts_of_the_api() {
        let name = "a/blobs/manifests/tags";
        assert_eq!(Route::parse("a/blobs/manifests/tags/tags/list"), Some(Route::Tags { name }));
        assert_eq!(
            Route::parse("a/blobs/manifests/tags/manifests/v1"),
            Some(Route::Manifest { name, reference: "v1" })
        );
        assert_eq!(Route::parse("a/blobs/uploads/"), Some(Route::Uploads { name: "a" }));
        assert_eq!(Route::parse("a/blobs/uploads"), Some(Route::Uploads { name: "a" }));
        assert_eq!(Route::parse("a/blobs/uploads/x"), Some(Route::Upload { name: "a", id: "x" }));
        for none in ["_catalog", "a", "a/b", "a/blobs/", "manifests/v1", "a/things/x", "/"] {
            assert_eq!(Route::parse(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn every_path_leads_back_to_its_name(name in "[a-z]{1,5}(/[a-z]{1,5}){0,4}", last in "[a-z0-9:]{1,20}") {
            for noun in ["manifests", "referrers", "blobs/uploads"] {
                let path = format!("{name}/{noun}/{last}");
                prop_assert_eq!(Route::parse(&path).and_then(|it| it.name()), Some(name.as_str()));
            }
        }

        #[test]
        fn no_path_makes_it_panic(path in "\\PC{0,60}") {
            let _ = Route::parse(&path);
        }
    }
}
