//! Tests that read the workspace's own sources: the glossary's rules for names. There is no
//! library; a package of its own is compiled in seconds.
