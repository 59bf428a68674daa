//! The matchmaker's core.
