//! Scopes of the token service: each scope that is read of any request was requested, once for each
//! repository.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use omgservers_registry::scopes;

fuzz_target!(|text: &str| {
    // Parameters may be repeated.
    let read = scopes(text.split('&'));
    let mut names = HashSet::new();
    for scope in &read {
        let name = scope.repository.to_string();
        assert!(text.contains(&name), "nobody has asked for {name}");
        assert!(names.insert(name), "twice in the answer");
        assert!(!scope.actions.is_empty());
        assert!(scope.actions.is_sorted_by(|one, next| one < next), "{:?}", scope.actions);
        let asked = |word: &str| text.contains(word) || text.contains('*');
        assert!(scope.actions.iter().all(|it| asked(it.as_str())));
    }
    // Read again as it would be printed, it is the same.
    let print = |scope: &omgservers_registry::Scope| {
        let actions: Vec<_> = scope.actions.iter().map(|it| it.as_str()).collect();
        format!("repository:{}:{}", scope.repository, actions.join(","))
    };
    let printed = read.iter().map(print).collect::<Vec<_>>().join(" ");
    assert_eq!(scopes([printed.as_str()]), read);
});
