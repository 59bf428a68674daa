//! Ids, references, names of repositories, digests, scopes and ranges: a parser answers, and what it took is printed
//! as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_api::{ClientId, Ref, TenantId};
use omgservers_registry::{Digest, Route, chunk, scopes, wanted};
use omgservers_versions::Repository;

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<ClientId>() {
        assert_eq!(id.to_string().parse::<ClientId>(), Ok(id));
    }
    let _ = Ref::<TenantId>::parse(text);
    if let Ok(repository) = text.parse::<Repository>() {
        assert_eq!(repository.to_string(), text);
    }
    let _ = text.parse::<Digest>();
    let _ = Route::parse(text);
    let _ = chunk(text);
    let _ = wanted(Some(text), 1_000);
    let _ = scopes([text]);
});
