//! The words of the code: the glossary's rules for names, read from the sources themselves.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proc_macro2::Span;
use syn::{
    parse::Parser as _,
    punctuated::Punctuated,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// Names that several types of shipped code share on purpose, with the reason.
const SHARED_TYPE_NAMES: &[(&str, &str)] = &[
    ("AliasRow", "a row of the aliases of its module's table"),
    ("Bounds", "what may wait in the crate's queues"),
    ("Cli", "the command line of each program"),
    ("Command", "the subcommands of each program, and what a runtime receives in the SDK"),
    ("HostConfig", "as it is written in the file, and as the reconciler uses it"),
    ("HostState", "as it is written in the file, and as the reconciler uses it"),
    ("Inner", "the shared half of a cheap handle, private to its module"),
    ("Meters", "the metrics of its module"),
    ("NameRow", "a row of the names of its crate's schema"),
    ("Options", "the options of one function or program"),
    ("PermissionRow", "a row of the permissions of its module's table"),
    ("Row", "a row of the table of its module"),
    ("RuntimesConfig", "as it is written in the file, and as the crate uses it"),
    ("Shared", "the state behind a lock, private to its module"),
    ("State", "the states of a machine, private to its module"),
    ("Strategy", "as it is written in the file, and as the scheduler uses it"),
    ("SweepOrphans", "the worker of that task in its crate; its name has the crate"),
    ("SweepPermissions", "the worker of that task in its crate; its name has the crate"),
];

/// How many findings of a crate are printed.
const PRINTED: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What one source file makes, and the crate it belongs to.
struct Source {
    krate: String,
    path: String,
    found: Collector,
}

/// All files of the workspace, parsed once for all tests.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);

fn read_sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["crates", "bins", "examples", "tests", "fuzz"] {
        rust_files(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        found.push(Source { krate: crate_of(&path), path, found: collect(&syntax) });
    }
    assert!(found.len() > 300, "only {} files were found", found.len());
    found
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().flatten().map(|it| it.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// `crates/messaging/src/lib.rs` is of `messaging`; packages below `tests` have names of their own.
fn crate_of(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["crates" | "bins" | "examples", name, ..] => (*name).to_owned(),
        ["tests", name @ ("idle-runtime" | "torture" | "words"), ..] => (*name).to_owned(),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

/// A row of the glossary's last section.
struct Rule {
    instead: String,
    except_in: BTreeSet<String>,
    /// Whether sentences, that is, the names of tests, may have the word.
    in_sentences: bool,
}

/// The words that identifiers do not use, from `docs/glossary.md`.
fn rules() -> BTreeMap<String, Rule> {
    let text = std::fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let (_, section) = text.split_once("\n## Words that identifiers do not use\n").unwrap();
    let mut in_sentences = false;
    let mut rules = BTreeMap::new();
    for line in section.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            in_sentences = title == "Not as a name";
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [words, instead, except_in] = cells.as_slice() else { continue };
        for word in
            words.split('`').filter(|it| it.chars().all(|it| it.is_ascii_lowercase()) && !it.is_empty())
        {
            let rule = Rule {
                instead: (*instead).to_owned(),
                except_in: except_in.split(", ").map(str::to_owned).collect(),
                in_sentences,
            };
            assert!(rules.insert(word.to_owned(), rule).is_none(), "`{word}` is in the glossary twice");
        }
    }
    assert!(rules.len() > 50, "only {} words were found in the glossary", rules.len());
    rules
}

/// The words of a name in snake case or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before_is_lower = false;
    for character in name.trim_start_matches("r#").chars() {
        let starts = character.is_ascii_uppercase() && before_is_lower;
        if (character == '_' || starts) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character != '_' {
            word.push(character.to_ascii_lowercase());
        }
        before_is_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A name where it is made.
struct Name {
    text: String,
    line: usize,
    /// Whether it is the sentence of a test.
    sentence: bool,
}

/// Collects the names that a file makes, its types, and each `it` that lives longer than a line.
#[derive(Default)]
struct Collector {
    names: Vec<Name>,
    types: Vec<(String, usize)>,
    long_lived: Vec<usize>,
    /// Whether the pattern that is visited is the parameter of a closure on one line.
    in_short_closure: bool,
    in_tests: bool,
}

impl Collector {
    fn name(&mut self, ident: &syn::Ident) {
        self.add(ident, false);
    }

    fn add(&mut self, ident: &syn::Ident, sentence: bool) {
        self.names.push(Name { text: ident.to_string(), line: line(ident.span()), sentence });
    }

    fn type_name(&mut self, ident: &syn::Ident) {
        self.name(ident);
        if !self.in_tests {
            self.types.push((ident.to_string(), line(ident.span())));
        }
    }
}

fn line(span: Span) -> usize {
    span.start().line
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|it| it.path().segments.last().is_some_and(|it| it.ident == "test"))
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
    })
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig.ident, is_test(&item.attrs));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.name(&item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.name(&item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.type_name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.type_name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.type_name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.type_name(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.name(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.name(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.name(&item.ident);
        let outside = self.in_tests;
        self.in_tests |= is_for_tests(&item.attrs);
        visit::visit_item_mod(self, item);
        self.in_tests = outside;
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.name(ident);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.name(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        if pattern.ident == "it" {
            if !self.in_short_closure {
                self.long_lived.push(line(pattern.ident.span()));
            }
        } else {
            self.name(&pattern.ident);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let span = closure.span();
        let outside = self.in_short_closure;
        self.in_short_closure = span.start().line == span.end().line;
        for input in &closure.inputs {
            self.visit_pat(input);
        }
        self.in_short_closure = false;
        self.visit_expr(&closure.body);
        self.in_short_closure = outside;
    }

    /// Arguments of macros are tokens: those that are expressions or statements are visited as
    /// such.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let arguments = Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        let mut inside = Collector { in_tests: self.in_tests, ..Self::default() };
        if let Ok(arguments) = arguments.parse2(call.tokens.clone()) {
            for argument in &arguments {
                inside.visit_expr(argument);
            }
        } else if let Ok(statements) = syn::Block::parse_within.parse2(call.tokens.clone()) {
            for statement in &statements {
                inside.visit_stmt(statement);
            }
        }
        self.names.append(&mut inside.names);
        self.types.append(&mut inside.types);
        self.long_lived.append(&mut inside.long_lived);
    }
}

fn collect(syntax: &syn::File) -> Collector {
    let mut collector = Collector::default();
    collector.visit_file(syntax);
    collector
}

/// Findings of all crates.
struct Findings(BTreeMap<String, Vec<String>>);

impl Findings {
    fn assert_none(self, rule: &str) {
        let mut wrong = String::new();
        for (krate, found) in &self.0 {
            writeln!(wrong, "{krate}: {} findings", found.len()).unwrap();
            for finding in found.iter().take(PRINTED) {
                writeln!(wrong, "  {finding}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "{rule}\n{wrong}");
    }
}

#[test]
fn no_identifier_has_a_word_that_the_glossary_forbids() {
    let rules = rules();
    let mut findings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in SOURCES.iter() {
        for name in &source.found.names {
            for word in words(&name.text) {
                let Some(rule) = rules.get(&word) else { continue };
                if rule.except_in.contains(&source.krate) || (name.sentence && rule.in_sentences) {
                    continue;
                }
                let text = format!("{}:{}: `{}`: use {}", source.path, name.line, name.text, rule.instead);
                findings.entry(source.krate.clone()).or_default().push(text);
            }
        }
    }
    Findings(findings).assert_none("docs/glossary.md says which words identifiers use");
}

#[test]
fn it_is_a_parameter_of_closures_on_one_line_only() {
    let mut findings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in SOURCES.iter() {
        for line in &source.found.long_lived {
            let text = format!("{}:{line}: give `it` a name", source.path);
            findings.entry(source.krate.clone()).or_default().push(text);
        }
    }
    Findings(findings).assert_none("`it` is a parameter of closures on one line, and nothing else");
}

#[test]
fn two_types_do_not_share_a_name() {
    let stated: BTreeSet<&str> = SHARED_TYPE_NAMES.iter().map(|it| it.0).collect();
    let mut types: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in SOURCES.iter().filter(|it| is_shipped(&it.path)) {
        for (name, line) in &source.found.types {
            types.entry(name).or_default().push(format!("{}:{line}", source.path));
        }
    }
    types.retain(|name, uses| uses.len() > 1 && !stated.contains(name));
    let lines: Vec<String> =
        types.iter().map(|(name, uses)| format!("{name}: {}", uses.join(", "))).collect();
    assert!(
        lines.is_empty(),
        "qualify these names, or state them in SHARED_TYPE_NAMES:\n{}",
        lines.join("\n"),
    );
}

/// Examples are programs that studios copy, each by itself.
fn is_shipped(path: &str) -> bool {
    (path.starts_with("crates/") || path.starts_with("bins/"))
        && !path.starts_with("crates/fixtures/")
        && path.contains("/src/")
        && !path.contains("/tests/")
        && !path.ends_with("/tests.rs")
}

#[test]
fn the_scan_finds_what_it_is_for() {
    let code = "
        fn send_told(it: u8) { let it = 1; for it in 0..2 {} if let Some(it) = x {} }
        fn fine() { xs.map(|it| it + 1); xs.map(|it| {
            it
        }); assert!(xs.iter().any(|it| match it { it => true })); }
        struct HallState { room_left: u8 }
        #[test] fn a_room_has_a_place() {}
    ";
    let found = collect(&syn::parse_file(code).unwrap());
    assert_eq!(found.long_lived.len(), 6, "{:?}", found.long_lived);
    let names: Vec<&str> = found.names.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(names, ["send_told", "fine", "HallState", "room_left", "a_room_has_a_place"]);
    assert!(found.names.last().unwrap().sentence);
    assert_eq!(words("HTTPServer2_roomLeft"), ["httpserver2", "room", "left"]);
    assert_eq!(found.types.len(), 1);
    let rules = rules();
    assert!(!rules.get("told").unwrap().in_sentences && rules.get("place").unwrap().in_sentences);
    assert!(rules.get("room").unwrap().except_in.contains("dispatcher"));
}
