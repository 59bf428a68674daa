//! Ids and references, in texts and in JSON: an id is printed as the same id, and a text is never
//! both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use omgservers_api::{ClientId, Ref, TenantId, ids::Id as _};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<ClientId>() {
        assert!(id.get() > 0 && text.bytes().all(|it| it.is_ascii_digit()));
        assert_eq!(id.to_string().parse::<ClientId>(), Ok(id));
    }
    if let Ok(id) = serde_json::from_str::<ClientId>(text) {
        let written = serde_json::to_string(&id).expect("an id is JSON");
        assert_eq!(written, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<ClientId>(&written).expect("what we wrote"), id);
    }
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    if let Ok(reference) = serde_json::from_str::<Ref<TenantId>>(&quoted) {
        match reference {
            Ref::Id(id) => assert_eq!(text.parse(), Ok(id)),
            Ref::Alias(alias) => assert!(alias.parse::<i64>().is_err() && alias.chars().count() <= 64),
        }
    }
    let _ = Ref::<TenantId>::parse(text);
    let _ = serde_json::from_str::<Ref<TenantId>>(text);
});
