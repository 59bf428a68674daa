//! What the rules see of a ticket.

use std::cmp::Ordering;

use omgservers_api::interchange::{Attribute, Attributes};

use crate::{
    Refusal,
    compiled_mode::{CompiledMode, NumberRule},
};

/// A ticket's values in the order of the mode's rules.
#[derive(Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) ranges: Box<[f64]>,
    pub(crate) balances: Box<[f64]>,
    pub(crate) equals: Box<[Part]>,
}

/// A value that can only be the same or another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The rule isn't asked.
    Any,
    Absent,
    Number(Real),
    Text(Box<str>),
    Flag(bool),
}

/// A number with an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Real(pub(crate) f64);

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Real {}

impl Values {
    pub(crate) fn of(mode: &CompiledMode, attributes: &Attributes) -> Result<Self, Refusal> {
        let numbers = |rules: &[NumberRule]| -> Result<Box<[f64]>, Refusal> {
            rules.iter().map(|it| number(it, attributes)).collect()
        };
        Ok(Self {
            ranges: numbers(&mode.ranges)?,
            balances: numbers(&mode.balances)?,
            equals: mode.equals.iter().map(|it| part(attributes.get(&it.attribute))).collect(),
        })
    }

    /// The same for a player that is in a match already, with any rules.
    pub(crate) fn or_default(mode: &CompiledMode, attributes: &Attributes) -> Self {
        let value = |it: &NumberRule| number(it, attributes).unwrap_or(it.default.unwrap_or(0.0));
        Self {
            ranges: mode.ranges.iter().map(value).collect(),
            balances: mode.balances.iter().map(value).collect(),
            equals: mode.equals.iter().map(|it| part(attributes.get(&it.attribute))).collect(),
        }
    }

    /// The values that have to be the same for a ticket that has given up these.
    pub(crate) fn key(&self, free: &[bool]) -> Vec<Part> {
        let part = |(part, free): (&Part, &bool)| if *free { Part::Any } else { part.clone() };
        self.equals.iter().zip(free).map(part).collect()
    }

    /// The value in the first range, which the index is ordered by.
    pub(crate) fn first(&self) -> f64 {
        self.ranges.first().copied().unwrap_or(0.0)
    }
}

fn number(rule: &NumberRule, attributes: &Attributes) -> Result<f64, Refusal> {
    let (name, attribute) = (rule.name.to_string(), rule.attribute.clone());
    match (attributes.get(&rule.attribute), rule.default) {
        // Without a negative zero: it is equal to zero and would be ordered before it.
        (Some(Attribute::Number(number)), _) if number.is_finite() => Ok(number + 0.0),
        (Some(_), _) => Err(Refusal::NotANumber { rule: name, attribute }),
        (None, Some(default)) => Ok(default + 0.0),
        (None, None) => Err(Refusal::MissingAttribute { rule: name, attribute }),
    }
}

fn part(attribute: Option<&Attribute>) -> Part {
    match attribute {
        None => Part::Absent,
        Some(Attribute::Number(number)) => Part::Number(Real(number + 0.0)),
        Some(Attribute::Text(text)) => Part::Text(text.as_str().into()),
        Some(Attribute::Flag(flag)) => Part::Flag(*flag),
    }
}
