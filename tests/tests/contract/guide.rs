//! The guides show code that is in the source.

use omgservers_tests::root;

/// The blocks of a guide that name their file in a comment before: the file, and the code.
fn blocks(guide: &str) -> Vec<(String, String)> {
    let named = guide.split("<!-- ").skip(1);
    let block = |text: &str| {
        let (file, rest) = text.split_once(" -->\n```rust\n")?;
        let (code, _) = rest.split_once("```")?;
        Some((file.to_owned(), code.to_owned()))
    };
    named.filter_map(block).collect()
}

#[test]
fn the_guide_to_adding_an_endpoint_shows_the_code_as_it_is() {
    let guide = std::fs::read_to_string(root().join("docs/adding-an-endpoint.md")).unwrap();
    let blocks = blocks(&guide);
    assert_eq!(blocks.len(), guide.matches("```rust").count(), "each block of Rust names its file");
    assert!(blocks.len() > 3);
    for (file, code) in blocks {
        let source = std::fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(source.contains(&code), "docs/adding-an-endpoint.md shows what isn't in {file}:\n{code}");
    }
}
