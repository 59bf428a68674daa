//! Kills, cuts and delays under load, and a checker of what was said and heard: make torture.
