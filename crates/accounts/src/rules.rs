//! Decisions without I/O.

use omgservers_api::{Problem, Role, problem::codes, validate};
use omgservers_core::Caller;
use sha2::{Digest as _, Sha256};

/// Who may make, name and delete users of `role`: the backend any, support developers. Problems:
/// `auth.role`.
pub(crate) fn may_manage(caller: &Caller, role: Role) -> Result<(), Problem> {
    match caller {
        Caller::System(_) => Ok(()),
        _ if role == Role::Developer => caller.trusted(),
        _ => Err(codes::WRONG_ROLE.into()),
    }
}

/// Who may make users of `role`: players anybody, for that is how one signs up. Problems:
/// `auth.role`.
pub(crate) fn may_create(caller: &Caller, role: Role) -> Result<(), Problem> {
    if role == Role::Player { Ok(()) } else { may_manage(caller, role) }
}

/// Whether users of this role are kept with a keyed digest: their secrets are always generated, and
/// a slow hash would only cost time.
pub(crate) fn is_keyed(role: Role) -> bool {
    role == Role::Player
}

/// Whether only keyed secrets can fit, so that no answer takes a slow hash.
pub(crate) fn only_keyed(roles: &[Role]) -> bool {
    !roles.is_empty() && roles.iter().all(|it| is_keyed(*it))
}

/// Problems: `request.invalid`.
pub(crate) fn check_alias(alias: &str) -> Result<(), Problem> {
    validate::alias("alias", alias)
}

/// What opens an account must be something. Problems: `request.invalid`.
pub(crate) fn check_password(password: &str) -> Result<(), Problem> {
    if password.trim().is_empty() {
        return Err(validate::invalid("password", "must not be blank"));
    }
    Ok(())
}

/// Whether a text could be an alias at all. PostgreSQL takes no zero byte.
pub(crate) fn could_be_alias(text: &str) -> bool {
    !text.contains('\0')
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

    use omgservers_api::{RuntimeId, UserId, ids::Id as _};

    use super::*;

    fn user(role: Role) -> Caller {
        Caller::User { id: UserId::from_i64(7).unwrap(), role }
    }

    #[test]
    fn support_manages_developers_and_nobody_else() {
        for role in Role::ALL {
            assert!(may_manage(&Caller::System("test"), *role).is_ok());
            assert_eq!(may_manage(&user(Role::Support), *role).is_ok(), *role == Role::Developer, "{role}");
            for other in [Role::Admin, Role::Developer, Role::Player] {
                assert!(may_manage(&user(other), *role).unwrap_err().is(codes::WRONG_ROLE));
            }
            let runtime = Caller::Runtime(RuntimeId::from_i64(7).unwrap());
            assert!(may_manage(&runtime, *role).unwrap_err().is(codes::WRONG_ROLE));
        }
    }

    #[test]
    fn anybody_signs_up_as_a_player_and_as_nothing_else() {
        let runtime = Caller::Runtime(RuntimeId::from_i64(7).unwrap());
        for caller in [user(Role::Player), user(Role::Developer), user(Role::Admin), runtime] {
            assert!(may_create(&caller, Role::Player).is_ok());
            for role in [Role::Admin, Role::Support, Role::Service, Role::Developer] {
                assert!(may_create(&caller, role).is_err(), "{caller:?} makes {role}");
            }
        }
        assert!(may_create(&user(Role::Support), Role::Developer).is_ok());
        assert!(may_create(&user(Role::Support), Role::Admin).is_err());
    }

    #[test]
    fn only_a_question_for_players_goes_without_a_slow_hash() {
        assert!(only_keyed(&[Role::Player]));
        assert!(!only_keyed(&[Role::Player, Role::Developer]));
        assert!(!only_keyed(&[Role::Admin]));
        assert!(!only_keyed(&[]));
    }

    #[test]
    fn the_slot_of_a_name_never_changes() {
        assert_eq!(["acme", "Acme", "zoë"].map(slot_of_name), [130, 55, 39]);
        let slots: HashSet<i16> = (0..5_000).map(|it| slot_of_name(&format!("user-{it}"))).collect();
        assert_eq!(slots.len(), 256);
    }
}
