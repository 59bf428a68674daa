//! Typed ids: 63-bit positive integers, decimal strings in JSON, `bigint` in PostgreSQL.
//!
//! Layout: slot 12 bits, block 23 bits, counter 28 bits. The slot says where the row's data lives.

use std::{fmt, marker::PhantomData, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bits of the counter inside a block.
pub const COUNTER_BITS: u32 = 28;
/// Bits of the block number inside a slot.
pub const BLOCK_BITS: u32 = 23;
/// How many slots there are, for ever.
pub const SLOTS: u16 = 4096;

/// A part of the data, `0..4096`. Everything that belongs to one root lives in the root's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number; `None` from 4096 on.
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// Its number, `0..4096`.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A text is no id: it isn't a decimal number from 1 to 9223372036854775807.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id: a whole number from 1 to 9223372036854775807")]
pub struct ParseIdError;

/// What all ids have in common.
pub trait Id: Copy + Ord + fmt::Display + FromStr<Err = ParseIdError> + Send + Sync + 'static {
    /// The id with this value; `None` unless it is positive.
    fn from_i64(value: i64) -> Option<Self>;
    /// Its value, always positive.
    fn get(self) -> i64;
    /// The slot that it lives in.
    fn slot(self) -> Slot {
        // Shifting the sign bit and 51 lower bits out leaves 12 bits.
        Slot(u16::try_from(self.get() >> (BLOCK_BITS + COUNTER_BITS)).unwrap_or(0))
    }
}

fn parse(text: &str) -> Result<i64, ParseIdError> {
    // `i64::from_str` would take a leading `+`.
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let value: i64 = if digits { text.parse().map_err(|_overflow| ParseIdError)? } else { 0 };
    if value > 0 { Ok(value) } else { Err(ParseIdError) }
}

struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a number from 1 to 9223372036854775807, or the same as a string")
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value)
            .ok()
            .filter(|it| *it > 0)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        if value > 0 { Ok(value) } else { Err(E::invalid_value(de::Unexpected::Signed(value), &self)) }
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        parse(text).map_err(|_parse| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "diesel", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
        #[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::BigInt))]
        pub struct $name(i64);

        impl Id for $name {
            fn from_i64(value: i64) -> Option<Self> { (value > 0).then_some(Self(value)) }
            fn get(self) -> i64 { self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.0) }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> { parse(text).map(Self) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> { serializer.collect_str(&self.0) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(IdVisitor).map(Self)
            }
        }
        #[cfg(feature = "diesel")]
        impl diesel::serialize::ToSql<diesel::sql_types::BigInt, diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>) -> diesel::serialize::Result {
                <i64 as diesel::serialize::ToSql<diesel::sql_types::BigInt, diesel::pg::Pg>>::to_sql(&self.0, out)
            }
        }
        #[cfg(feature = "diesel")]
        impl diesel::deserialize::FromSql<diesel::sql_types::BigInt, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let value = <i64 as diesel::deserialize::FromSql<diesel::sql_types::BigInt, diesel::pg::Pg>>::from_sql(bytes)?;
                Self::from_i64(value).ok_or_else(|| ParseIdError.into())
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> { id_schema() }
        }
        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}
    )*};
}

#[cfg(feature = "schema")]
fn id_schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .pattern(Some("^[1-9][0-9]{0,18}$"))
        .description(Some("63-bit id as a decimal string; a number is accepted in requests"))
        .into()
}

ids! {
    /// A tenant: one studio or customer.
    TenantId;
    /// A project: one game of a tenant.
    ProjectId;
    /// A stage of a project: where a version is deployed to.
    StageId;
    /// A version of a project.
    VersionId;
    /// An image of a version.
    ImageId;
    /// A deployment of a version in a stage.
    DeploymentId;
    /// A user of any role.
    UserId;
    /// A player's session in a stage.
    ClientId;
    /// A game server: a lobby's or a match's.
    RuntimeId;
    /// A lobby.
    LobbyId;
    /// A match.
    MatchId;
    /// One wish of a client, or of a party of clients, to be matched.
    TicketId;
    /// A matchmaker of a deployment.
    MatchmakerId;
    /// A pool of Docker hosts.
    PoolId;
    /// A Docker host.
    HostId;
    /// A second name of an entity.
    AliasId;
    /// A permission that a user holds.
    PermissionId;
    /// An entry of a mailbox: a message to a player or a command to a runtime.
    EntryId;
}

/// An id, or an alias that stands for one. A text that parses as a 64-bit integer is an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ref<I> {
    /// By id.
    Id(I),
    /// By alias.
    Alias(String),
}

impl<I: Id> Ref<I> {
    /// Reads a text. `Err` says what is wrong: empty, longer than 64 characters, or a number that
    /// is no id.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim().is_empty() {
            return Err("must not be blank");
        }
        if text.chars().count() > 64 {
            return Err("must have at most 64 characters");
        }
        match (text.parse::<i64>(), text.parse::<I>()) {
            (_, Ok(id)) => Ok(Self::Id(id)),
            (Ok(_), Err(_)) => Err("is a number but no id"),
            (Err(_), Err(_)) => Ok(Self::Alias(text.to_owned())),
        }
    }
}

impl<I> From<I> for Ref<I> {
    fn from(id: I) -> Self {
        Self::Id(id)
    }
}

impl<I: Id> fmt::Display for Ref<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}

impl<I: Id> FromStr for Ref<I> {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        Self::parse(text)
    }
}

impl<I: Id> Serialize for Ref<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, I: Id> Deserialize<'de> for Ref<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RefVisitor<I>(PhantomData<I>);
        impl<I: Id> de::Visitor<'_> for RefVisitor<I> {
            type Value = Ref<I>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id or an alias of 1 to 64 characters")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ref<I>, E> {
                IdVisitor
                    .visit_u64(value)
                    .map(|it| I::from_i64(it).map(Ref::Id))?
                    .ok_or_else(|| E::custom(ParseIdError))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ref<I>, E> {
                Err(E::invalid_value(de::Unexpected::Signed(value), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ref<I>, E> {
                Ref::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(RefVisitor(PhantomData))
    }
}

#[cfg(feature = "schema")]
impl<I> utoipa::ToSchema for Ref<I> {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Ref")
    }
}
// What the derive asks of the type of a generic field; utoipa gives it no public name.
#[cfg(feature = "schema")]
impl<I> utoipa::__dev::ComposeSchema for Ref<I> {
    fn compose(
        _generics: Vec<utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>>,
    ) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .min_length(Some(1))
            .max_length(Some(64))
            .description(Some("An id, or an alias that stands for one"))
            .into()
    }
}

/// The id that a client gives its own message: a counter from 0. Numbers and decimal strings are
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderSeq(pub u64);

impl<'de> Deserialize<'de> for SenderSeq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SeqVisitor;
        impl de::Visitor<'_> for SeqVisitor {
            type Value = u64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message id: a whole number from 0 to 9223372036854775807")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
                // It is kept in a `bigint`.
                i64::try_from(value)
                    .map(|_fits| value)
                    .map_err(|_overflow| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
                u64::try_from(value)
                    .map_err(|_negative| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
                // Lua has one number type; some encoders print `3.0`.
                let text = format!("{value:.0}");
                match text.parse::<u64>() {
                    Ok(whole) if value.fract() == 0.0 => self.visit_u64(whole),
                    _ => Err(E::invalid_value(de::Unexpected::Float(value), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                text.parse::<u64>()
                    .map_err(|_parse| E::invalid_value(de::Unexpected::Str(text), &self))
                    .and_then(|it| self.visit_u64(it))
            }
        }
        deserializer.deserialize_any(SeqVisitor).map(Self)
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for SenderSeq {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .minimum(Some(0))
            .description(Some("The sender's own counter; the backend doesn't deliver a repeated one again"))
            .into()
    }
}
#[cfg(feature = "schema")]
impl utoipa::ToSchema for SenderSeq {}

impl Serialize for SenderSeq {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// The id in `slot` made of `block` and `counter`; `None` when a part is out of its bits or the id
/// would be 0.
pub fn compose(slot: Slot, block: u32, counter: u32) -> Option<NonZeroU64> {
    if block >> BLOCK_BITS != 0 || counter >> COUNTER_BITS != 0 {
        return None;
    }
    let value = (u64::from(slot.number()) << (BLOCK_BITS + COUNTER_BITS))
        | (u64::from(block) << COUNTER_BITS)
        | u64::from(counter);
    NonZeroU64::new(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_string_in_json_and_a_number_is_read_too() {
        let id: TenantId = "246000000000000001".parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"246000000000000001\"");
        assert_eq!(serde_json::from_str::<TenantId>("246000000000000001").unwrap(), id);
        assert_eq!(serde_json::from_str::<TenantId>("\"246000000000000001\"").unwrap(), id);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in
            ["0", "-1", "\"\"", "\"+5\"", "\"abc\"", "9223372036854775808", "1.5", "null", "[]", "\"1 \""]
        {
            assert!(serde_json::from_str::<TenantId>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_in_a_reference_is_always_an_id() {
        assert_eq!(Ref::<TenantId>::parse("acme").unwrap(), Ref::Alias("acme".into()));
        assert_eq!(Ref::<TenantId>::parse("12").unwrap(), Ref::Id(TenantId(12)));
        for bad in ["", "  ", "-12", "0", &"x".repeat(65)] {
            assert!(Ref::<TenantId>::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Ref::<TenantId>::parse(&"ä".repeat(64)).is_ok(), "64 characters, not bytes");
    }

    proptest! {
        #[test]
        fn an_id_tells_its_slot(slot in 0u16..SLOTS, block in 0u32..1 << BLOCK_BITS, counter in 1u32..1 << COUNTER_BITS) {
            let slot = Slot::new(slot).unwrap();
            let id = compose(slot, block, counter).unwrap();
            let id = ClientId::from_i64(i64::try_from(id.get()).unwrap()).unwrap();
            prop_assert_eq!(id.slot(), slot);
        }

        #[test]
        fn no_text_makes_an_id_panic(text in ".*") {
            let _ = text.parse::<ClientId>();
            let _ = Ref::<ClientId>::parse(&text);
            let _ = serde_json::from_str::<ClientId>(&text);
            let _ = serde_json::from_str::<SenderSeq>(&text);
        }

        #[test]
        fn ids_survive_a_round_trip(value in 1i64..) {
            let id = ClientId::from_i64(value).unwrap();
            prop_assert_eq!(id.to_string().parse::<ClientId>().unwrap(), id);
        }
    }
}
