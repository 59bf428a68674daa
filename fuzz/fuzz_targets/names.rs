//! Names of repositories, digests, paths and ranges of the registry: a parser answers, and what it
//! took is printed as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_registry::{Digest, Route, chunk, repository, wanted};
use omgservers_versions::Repository;

fuzz_target!(|text: &str| {
    if let Ok(repository) = text.parse::<Repository>() {
        assert_eq!(repository.to_string(), text);
    }
    if let Ok(found) = repository(text) {
        assert_eq!(found.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = Route::parse(text);
    let _ = chunk(text);
    let _ = wanted(Some(text), 1_000);
});
