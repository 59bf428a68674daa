//! Bounds of fields. A broken one answers which field it is and why.

use crate::{Problem, problem::codes};

/// A request whose fields have bounds.
pub trait Validate {
    /// `VALIDATION_CONSTRAINT_VIOLATED` names the first field that is out of its bounds.
    fn validate(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// The problem of one field.
pub fn invalid(field: &str, reason: &str) -> Problem {
    codes::VALIDATION.detail(format!("`{field}` {reason}"))
}

/// A text that isn't blank and has at most `most` characters.
pub fn text(field: &str, value: &str, most: usize) -> Result<(), Problem> {
    if value.trim().is_empty() {
        return Err(invalid(field, "must not be blank"));
    }
    if value.chars().count() > most {
        return Err(invalid(field, &format!("must have at most {most} characters")));
    }
    if value.contains('\0') {
        return Err(invalid(field, "must not contain a NUL character"));
    }
    Ok(())
}

/// A new alias: a text of 1 to 64 characters that can't be taken for an id.
pub fn alias(field: &str, value: &str) -> Result<(), Problem> {
    text(field, value, 64)?;
    if value.parse::<i64>().is_ok() {
        return Err(invalid(field, "must not be a number: a number is always an id"));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// A list that isn't empty.
pub fn some<T>(field: &str, values: &[T]) -> Result<(), Problem> {
    if values.is_empty() { Err(invalid(field, "must not be empty")) } else { Ok(()) }
}

/// Most entries of a page that a request may ask for.
pub const MOST_PER_PAGE: u32 = 100;
/// Entries of a page if the request doesn't say.
pub const DEFAULT_PER_PAGE: u32 = 50;

/// A number from `least` to `most`.
pub fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, &format!("must be {least} to {most}")))
}
