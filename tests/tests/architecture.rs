//! The rules between crates, as tests. The tables below are the documentation.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on must fail at once"
)]

#[path = "architecture/sources.rs"]
mod sources;

use std::{collections::BTreeSet, path::Path, process::Command};

use omgservers_core::Schema;

/// The line: a domain crate calls only crates to its left, through their service trait.
pub(crate) const LINE: &[&str] = &[
    "omgservers-accounts",
    "omgservers-tenants",
    "omgservers-projects",
    "omgservers-versions",
    "omgservers-deployments",
    "omgservers-messaging",
    "omgservers-runtimes",
    "omgservers-players",
    "omgservers-matchmaking",
];

/// What every domain crate stands on.
const FOUNDATION: &[&str] = &["omgservers-api", "omgservers-core", "omgservers-auth", "omgservers-matcher"];

/// The other crates of ours and which crates of ours they may use; `line` stands for all domain
/// crates.
const OTHERS: &[(&str, &[&str])] = &[
    ("omgservers-api", &[]),
    ("omgservers-core", &["omgservers-api"]),
    ("omgservers-auth", &["omgservers-api", "omgservers-core"]),
    ("omgservers-testkit", &["omgservers-api", "omgservers-core"]),
    (
        "omgservers-fixtures",
        &["omgservers-api", "omgservers-core", "omgservers-auth", "omgservers-testkit", "line"],
    ),
    ("omgservers-matcher", &["omgservers-api"]),
    ("omgservers-ws", &[]),
    ("omgservers-dispatcher", &["omgservers-api", "omgservers-ws"]),
    ("omgservers-client", &["omgservers-api"]),
    ("omgservers-load", &["omgservers-api", "omgservers-client"]),
    ("omgservers-ctl", &["omgservers-api", "omgservers-client", "omgservers-load"]),
    ("omgservers-arena", &["omgservers-api", "omgservers-client"]),
    ("omgservers-lobby-echo", &["omgservers-api", "omgservers-client"]),
    ("omgservers-embed", &["*"]),
    ("omgservers-registry", &["omgservers-api", "omgservers-core", "omgservers-auth", "line"]),
    (
        "omgservers-http",
        &[
            "omgservers-api",
            "omgservers-core",
            "omgservers-auth",
            "omgservers-registry",
            "omgservers-dispatcher",
            "omgservers-ws",
            "line",
        ],
    ),
    (
        "omgservers-server",
        &[
            "omgservers-api",
            "omgservers-core",
            "omgservers-auth",
            "omgservers-registry",
            "omgservers-dispatcher",
            "omgservers-matcher",
            "omgservers-http",
            "line",
        ],
    ),
    ("omgservers-tests", &["*"]),
    ("omgservers-torture", &["omgservers-api", "omgservers-client", "omgservers-tests"]),
    ("omgservers-idle-runtime", &[]),
    ("omgservers-words", &[]),
];

/// Who may name these crates of others.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("actix-web", &["omgservers-http", "omgservers-server", "omgservers-tests"]),
    ("bollard", &["omgservers-runtimes"]),
    ("jsonwebtoken", &["omgservers-auth"]),
    ("bcrypt", &["omgservers-auth"]),
    ("config", &["omgservers-server"]),
    ("diesel-async", &["omgservers-core", "omgservers-registry", "omgservers-tests", "line"]),
    ("actix-ws", &[]),
    ("reqwest", &["omgservers-client", "omgservers-tests"]),
    (
        "tokio-tungstenite",
        &["omgservers-client", "omgservers-load", "omgservers-tests", "omgservers-torture"],
    ),
    (
        "tokio-postgres",
        &[
            "omgservers-core",
            "omgservers-messaging",
            "omgservers-testkit",
            "omgservers-server",
            "omgservers-tests",
        ],
    ),
];

struct Package {
    name: String,
    /// Dependencies of what is shipped; those of tests are free.
    uses: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output =
        Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--no-deps"]).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
    let package = |package: &serde_json::Value| Package {
        name: text(&package["name"]),
        uses: package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["kind"].is_null())
            .map(|it| text(&it["name"]))
            .collect(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn allows(list: &[&str], name: &str) -> bool {
    list.contains(&"*") || list.contains(&name) || (list.contains(&"line") && LINE.contains(&name))
}

#[test]
fn a_crate_depends_only_on_what_the_tables_allow() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package.name.as_str();
        let position = LINE.iter().position(|it| *it == name);
        let other = OTHERS.iter().find(|it| it.0 == name).map(|it| it.1);
        assert!(position.is_some() || other.is_some(), "say in the tables what `{name}` may use");
        for used in package.uses.iter().filter(|it| it.starts_with("omgservers-")) {
            let left = position.is_some_and(|position| LINE[..position].contains(&used.as_str()));
            let foundation = position.is_some() && FOUNDATION.contains(&used.as_str());
            if !left && !foundation && !other.is_some_and(|list| allows(list, used)) {
                wrong.push(format!("{name} -> {used}"));
            }
        }
        for (outside, who) in OUTSIDE {
            if package.uses.contains(*outside) && !allows(who, name) {
                wrong.push(format!("{name} -> {outside}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed: {wrong:#?}");
}

/// Every schema of the system.
fn schemas() -> Vec<Schema> {
    omgservers_server::SCHEMAS.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_foreign_key_leaves_its_schema_and_every_key_begins_with_an_id() {
    let db = omgservers_testkit::TestDb::new(&schemas()).await;
    let (client, connection) = tokio_postgres::connect(db.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let crossing = "select conrelid::regclass || ' -> ' || confrelid::regclass from pg_constraint \
                    join pg_class a on a.oid = conrelid join pg_class b on b.oid = confrelid \
                    where contype = 'f' and a.relnamespace <> b.relnamespace";
    let found: Vec<String> = client.query(crossing, &[]).await.unwrap().iter().map(|it| it.get(0)).collect();
    assert!(found.is_empty(), "{found:#?}");

    // A primary key begins with a column that carries slot bits: an id, or the slot itself.
    let keys = "select i.indrelid::regclass::text, a.attname::text, format_type(a.atttypid, null) from pg_index i \
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
                join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace \
                where i.indisprimary and n.nspname not like 'pg_%' and c.relname not like '%diesel%'";
    for row in client.query(keys, &[]).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        assert!(kind == "bigint" || kind == "smallint", "{table} ({column} {kind}) has no slot in its key");
    }
}

#[test]
fn a_crate_writes_only_its_own_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for schema in schemas() {
        let folder = root.join("migrations").join(schema.name);
        assert!(folder.is_dir(), "{} has no migrations", schema.name);
        for up in walk(&folder).into_iter().filter(|it| it.ends_with("up.sql")) {
            let sql = std::fs::read_to_string(&up).unwrap().to_lowercase();
            // What comments say is free.
            let sql: String = sql
                .lines()
                .map(|it| it.split("--").next().unwrap_or_default())
                .collect::<Vec<_>>()
                .join("\n");
            for other in schemas().iter().filter(|it| it.name != schema.name) {
                let foreign = format!("{}.", other.name);
                let named = sql
                    .split(|it: char| !it.is_alphanumeric() && it != '.' && it != '_')
                    .any(|it| it.starts_with(&foreign));
                assert!(!named, "{up} names {foreign}");
            }
        }
    }
}

pub(crate) fn walk(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path().to_string_lossy().into_owned());
        }
    }
    files
}

/// Codes that clients know from before their crate had this name.
const OLDER_CODES: &[&str] = &["player.no_direct_connection"];

/// The codes of each crate, behind its prefix.
fn codes_by_crate() -> [(&'static str, &'static [omgservers_api::Code]); 13] {
    [
        ("accounts.", omgservers_accounts::problems::ALL),
        ("tenants.", omgservers_tenants::problems::ALL),
        ("projects.", omgservers_projects::problems::ALL),
        ("versions.", omgservers_versions::problems::ALL),
        ("deployments.", omgservers_deployments::problems::ALL),
        ("messaging.", omgservers_messaging::problems::ALL),
        ("runtimes.", omgservers_runtimes::problems::ALL),
        ("players.", omgservers_players::problems::ALL),
        ("matchmaking.", omgservers_matchmaking::problems::ALL),
        ("registry.", omgservers_registry::problems::ALL),
        ("client.", omgservers_client::problems::ALL),
        ("core.", &[omgservers_core::ownership::NOT_OWNER, omgservers_core::mint::NO_IDS]),
        ("", omgservers_api::problem::ALL),
    ]
}

fn codes() -> BTreeSet<&'static str> {
    codes_by_crate().iter().flat_map(|it| it.1).map(|it| it.code).collect()
}

#[test]
fn codes_of_problems_are_unique_and_begin_with_their_crate() {
    let mut known = BTreeSet::new();
    for (prefix, codes) in codes_by_crate() {
        for code in codes {
            assert!(code.code.starts_with(prefix) || OLDER_CODES.contains(&code.code), "{}", code.code);
            assert!(known.insert(code.code), "{} is there twice", code.code);
        }
    }
    // A code that a crate declares elsewhere would be in no list.
    for file in ["crates", "bins"].iter().flat_map(|it| walk(&omgservers_tests::root().join(it))) {
        if !file.ends_with(".rs") || !file.contains("/src/") {
            continue;
        }
        for declared in declared_codes(&std::fs::read_to_string(&file).unwrap()) {
            assert!(
                known.contains(declared.as_str()),
                "{file} declares {declared}, which is in no `problems::ALL`"
            );
        }
    }
}

/// A test that compares with a code that doesn't exist would never find what it looks for.
#[test]
fn tests_name_only_codes_that_exist() {
    let prefixes: BTreeSet<&str> = codes().iter().filter_map(|it| Some(it.split_once('.')?.0)).collect();
    let root = omgservers_tests::root();
    let mut compared = 0;
    for file in ["crates", "bins", "tests"].iter().flat_map(|it| walk(&root.join(it))) {
        if !file.ends_with(".rs") || !file.contains("/tests/") {
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        for text in compared_texts(&source) {
            let is_code = text.split_once('.').is_some_and(|it| prefixes.contains(it.0));
            let is_word = |it: char| it.is_ascii_lowercase() || it == '_' || it == '.';
            if is_code && text.chars().all(is_word) {
                compared += 1;
                assert!(codes().contains(text), "{file} compares with {text}, which is no code");
            }
        }
    }
    assert!(compared > 0, "tests compare codes");
}

/// The texts on the lines of a source file that read the code of a problem.
fn compared_texts(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter(|it| it.contains(".code()")).flat_map(|it| it.split('"').skip(1).step_by(2))
}

/// The codes that a source file declares with `Code::new`.
fn declared_codes(source: &str) -> Vec<String> {
    let declared = source.split("Code::new(").skip(1);
    declared.filter_map(|it| Some(it.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
}
