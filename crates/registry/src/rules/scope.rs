//! Scopes of the token service: what a client asks for, and what of it is granted.

use omgservers_auth::Access;
use omgservers_versions::Repository;

/// What can be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read it.
    Pull,
    /// Write it.
    Push,
    /// Delete from it.
    Delete,
}

impl Action {
    const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// Its word in scopes and tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// What is asked of one repository of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The repository.
    pub repository: Repository,
    /// Sorted, without repeats, never empty.
    pub actions: Vec<Action>,
}

/// Most repositories of one token.
const MOST_SCOPES: usize = 64;

/// Reads what clients ask for: parameters may be repeated, each may have several scopes with spaces
/// between them, the same repository may come twice. What isn't a repository of ours, or no known
/// action, is left out.
pub fn parse<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in parameters.into_iter().flat_map(str::split_whitespace).filter_map(one) {
        if let Some(known) = scopes.iter_mut().find(|it| it.repository == scope.repository) {
            known.actions.extend(scope.actions);
            known.actions.sort_unstable();
            known.actions.dedup();
        } else if scopes.len() < MOST_SCOPES {
            scopes.push(scope);
        }
    }
    scopes
}

fn one(text: &str) -> Option<Scope> {
    let (kind, rest) = text.split_once(':')?;
    // A class may follow the type: `repository(plugin)`.
    let kind =
        kind.split_once('(').map_or(kind, |(kind, class)| if class.ends_with(')') { kind } else { "" });
    // A name may have a host with a port before it, so the actions are behind the last colon.
    let (name, actions) = rest.rsplit_once(':')?;
    if kind != "repository" {
        return None;
    }
    let repository = name.parse().ok()?;
    let asked: Vec<&str> = actions.split(',').collect();
    let actions: Vec<Action> =
        Action::ALL.into_iter().filter(|it| asked.contains(&it.as_str()) || asked.contains(&"*")).collect();
    (!actions.is_empty()).then_some(Scope { repository, actions })
}

/// What is granted of a scope: the actions that were asked for and may be done.
pub(crate) fn grant(scope: &Scope, allowed: &[Action]) -> Option<Access> {
    let both = scope.actions.iter().filter(|it| allowed.contains(it));
    let actions: Vec<String> = both.map(|it| it.as_str().to_owned()).collect();
    (!actions.is_empty()).then(|| access(&scope.repository, actions))
}

/// Access to a repository.
pub(crate) fn access(repository: &Repository, actions: Vec<String>) -> Access {
    Access { r#type: "repository".to_owned(), name: repository.to_string(), actions }
}

/// The text of what was granted.
pub(crate) fn print(granted: &[Access]) -> String {
    let one = |it: &Access| format!("{}:{}:{}", it.r#type, it.name, it.actions.join(","));
    granted.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Whether a token allows an action on the repository of this name.
pub fn allows(access: &[Access], name: &str, action: Action) -> bool {
    let of = |it: &&Access| it.r#type == "repository" && it.name == name;
    access.iter().filter(of).any(|it| it.actions.iter().any(|word| word == action.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parameters: &[&str]) -> String {
        let scopes = parse(parameters.iter().copied());
        let all: Vec<Access> = scopes.iter().filter_map(|it| grant(it, &Action::ALL)).collect();
        print(&all)
    }

    #[test]
    fn scopes_are_read_as_clients_send_them() {
        for (parameters, expected) in [
            (&["repository:omgservers/1/2/lobby:push,pull"][..], "repository:omgservers/1/2/lobby:pull,push"),
            (
                &["repository:omgservers/1/2/lobby:pull", "repository:omgservers/1/3/lobby:pull"],
                "repository:omgservers/1/2/lobby:pull repository:omgservers/1/3/lobby:pull",
            ),
            (
                &["repository:omgservers/1/2/match:pull repository:omgservers/1/2/match:pull,push"],
                "repository:omgservers/1/2/match:pull,push",
            ),
            (&["repository(plugin):omgservers/1/2/lobby:pull"], "repository:omgservers/1/2/lobby:pull"),
            (&["repository:omgservers/1/2/lobby:*"], "repository:omgservers/1/2/lobby:pull,push,delete"),
            (&["repository:omgservers/1/2/lobby:fly,pull"], "repository:omgservers/1/2/lobby:pull"),
            (&["repository:localhost:5000/omgservers/1/2/lobby:pull"], ""),
            (
                &[
                    "registry:catalog:*",
                    "repository:omgservers/1/2/lobby",
                    "",
                    ":::",
                    "repository:library/a:pull",
                ],
                "",
            ),
            (&["repository(plugin:omgservers/1/2/lobby:pull"], ""),
        ] {
            assert_eq!(read(parameters), expected, "{parameters:?}");
        }
    }

    fn asked() -> impl Strategy<Value = (u8, u8, Vec<Action>)> {
        let action = prop::sample::select(Action::ALL.to_vec());
        (1u8..4, 1u8..4, prop::collection::vec(action, 1..4))
    }

    proptest! {
        #[test]
        fn exactly_what_was_asked_and_is_allowed_is_granted(
            asked in prop::collection::vec(asked(), 0..8),
            allowed in prop::sample::subsequence(Action::ALL.to_vec(), 0..=3),
            together: bool,
        ) {
            let texts: Vec<String> = asked.iter().map(|(tenant, project, actions)| {
                let actions: Vec<&str> = actions.iter().map(|it| it.as_str()).collect();
                format!("repository:omgservers/{tenant}/{project}/lobby:{}", actions.join(","))
            }).collect();
            let texts = if together { vec![texts.join(" ")] } else { texts };
            let granted: Vec<Access> =
                parse(texts.iter().map(String::as_str)).iter().filter_map(|it| grant(it, &allowed)).collect();
            for tenant in 1u8..4 { for project in 1u8..4 { for action in Action::ALL {
                let was_asked = asked.iter().any(|it| (it.0, it.1) == (tenant, project) && it.2.contains(&action));
                let name = format!("omgservers/{tenant}/{project}/lobby");
                prop_assert_eq!(allows(&granted, &name, action), was_asked && allowed.contains(&action));
            }}}
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = parse([text.as_str()]);
        }
    }
}
