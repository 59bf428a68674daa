//! Qualifiers as small numbers: in memory one byte, in the database a `smallint`.

use omgservers_api::interchange::{command, message};

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Qualifier(u8);

/// The numbers are in the database and never change.
const WORDS: &[(u8, &str)] = &[
    (1, message::SERVER_WELCOME),
    (2, message::MATCHMAKER_ASSIGNMENT),
    (3, message::RUNTIME_ASSIGNMENT),
    (4, message::CONNECTION_UPGRADE),
    (5, message::DISCONNECTION_REASON),
    (6, message::SERVER_OUTGOING),
    (7, message::MATCHMAKING_FAILURE),
    (16, command::INIT_RUNTIME),
    (17, command::ADD_CLIENT),
    (18, command::ADD_MATCH_CLIENT),
    (19, command::DELETE_CLIENT),
    (20, command::HANDLE_MESSAGE),
];

impl Qualifier {
    /// A client's new runtime.
    pub(crate) const RUNTIME_ASSIGNMENT: Self = Self(3);
    /// A client's address of its runtime's room.
    pub(crate) const CONNECTION_UPGRADE: Self = Self(4);
    /// The end of a client's session.
    pub(crate) const DISCONNECTION_REASON: Self = Self(5);
    /// A message of a runtime to a client.
    pub(crate) const SERVER_OUTGOING: Self = Self(6);
    /// A message of a client to a runtime.
    pub(crate) const HANDLE_MESSAGE: Self = Self(20);

    /// The qualifier with this word; `None` for a word that isn't the contract's.
    pub(crate) fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|it| it.1 == word).map(|it| Self(it.0))
    }

    /// The qualifier with this number.
    pub(crate) fn from_i16(number: i16) -> Option<Self> {
        WORDS.iter().find(|it| i16::from(it.0) == number).map(|it| Self(it.0))
    }

    /// Its number.
    pub(crate) fn number(self) -> i16 {
        self.0.into()
    }

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        // The two words of the hot path come first.
        match self {
            Self::HANDLE_MESSAGE => command::HANDLE_MESSAGE,
            Self::SERVER_OUTGOING => message::SERVER_OUTGOING,
            other => WORDS.iter().find(|it| it.0 == other.0).map_or("", |it| it.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_way_through_its_number() {
        for (number, word) in WORDS {
            let qualifier = Qualifier::of(word).unwrap();
            assert_eq!(qualifier.word(), *word);
            assert_eq!(qualifier.number(), i16::from(*number));
            assert_eq!(Qualifier::from_i16(qualifier.number()), Some(qualifier));
        }
        assert_eq!(Qualifier::of(command::HANDLE_MESSAGE), Some(Qualifier::HANDLE_MESSAGE));
        assert_eq!(Qualifier::of(message::SERVER_OUTGOING), Some(Qualifier::SERVER_OUTGOING));
        assert_eq!(Qualifier::of(message::RUNTIME_ASSIGNMENT), Some(Qualifier::RUNTIME_ASSIGNMENT));
        assert_eq!(Qualifier::of(message::CONNECTION_UPGRADE), Some(Qualifier::CONNECTION_UPGRADE));
        assert_eq!(Qualifier::of(message::DISCONNECTION_REASON), Some(Qualifier::DISCONNECTION_REASON));
    }

    #[test]
    fn every_word_that_the_backend_sends_has_a_number() {
        let commands = [
            command::INIT_RUNTIME,
            command::ADD_CLIENT,
            command::ADD_MATCH_CLIENT,
            command::DELETE_CLIENT,
            command::HANDLE_MESSAGE,
        ];
        for word in message::FROM_SERVER.iter().copied().chain(commands) {
            assert!(Qualifier::of(word).is_some(), "{word}");
        }
        assert_eq!(Qualifier::of(message::CLIENT_OUTGOING), None);
        assert_eq!(Qualifier::from_i16(0), None);
    }
}
