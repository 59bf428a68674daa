//! Decisions without I/O.

use omgservers_api::{Problem, validate};
use sha2::{Digest as _, Sha256};

/// Problems: `request.invalid`.
pub(crate) fn check_alias(alias: &str) -> Result<(), Problem> {
    validate::alias("alias", alias)
}

/// The slot, `0..256`, of a name. It is stored: another answer for the same name would make the
/// name unfindable.
pub(crate) fn slot_of_name(name: &str) -> i16 {
    let [first, ..]: [u8; 32] = Sha256::digest(name).into();
    i16::from(first)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_slot_of_a_name_never_changes() {
        assert_eq!(["acme", "Acme", "zoë"].map(slot_of_name), [130, 55, 39]);
    }

    #[test]
    fn names_spread_over_all_slots() {
        let slots: HashSet<i16> = (0..5_000).map(|it| slot_of_name(&format!("studio-{it}"))).collect();
        assert_eq!(slots.len(), 256);
        assert!(slots.iter().all(|it| (0..256).contains(it)));
    }

    #[test]
    fn an_alias_is_a_text_of_64_characters_at_most_that_is_no_number() {
        for good in ["acme", "a b", "ä".repeat(64).as_str(), "'; drop table tenants.tenant; --", "12a", "🎮"]
        {
            assert!(check_alias(good).is_ok(), "{good:?}");
        }
        for bad in ["", " ", "x".repeat(65).as_str(), "12", "-12", "a\0b", "a\nb"] {
            assert!(check_alias(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_a_slot_and_an_answer(text in any::<String>()) {
            prop_assert!((0..256).contains(&slot_of_name(&text)));
            let longer = format!("{text}{}", "x".repeat(65));
            prop_assert!(check_alias(&longer).is_err());
            prop_assert!(check_alias(&text).is_err() || text.chars().count() <= 64);
        }
    }
}
