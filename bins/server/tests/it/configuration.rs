use std::{collections::BTreeMap, fs, path::PathBuf};

use omgservers_server::config::{self, Config, HostState, Issues, Sources, Strategy};

use crate::program::omgservers;

const GENERATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/omgservers.example.toml");

fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, Issues> {
    let folder = tempfile::tempdir().unwrap();
    let file = file.map(|text| {
        let path = folder.path().join("omgservers.toml");
        fs::write(&path, text).unwrap();
        path
    });
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::load(&Sources { file, variables, data_dir: None })
}

fn issues(file: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
    load(file, variables).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_at_all_is_a_good_configuration() {
    assert_eq!(load(None, &[]).unwrap(), Config::default());
}

#[test]
fn a_file_replaces_defaults_and_the_environment_replaces_the_file() {
    let file =
        "data_dir = '/srv/a'\n[server]\nworkers = 3\nkeep_alive_seconds = 9\n[runtimes]\nstrategy = 'spread'";
    let variables = [
        ("OMGSERVERS__SERVER__WORKERS", "5"),
        ("OMGSERVERS__DATABASE__POOL_SIZE", "7"),
        ("OMGSERVERS_UNRELATED", "x"),
        ("HOME", "/root"),
    ];
    let config = load(Some(file), &variables).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/srv/a"));
    assert_eq!(config.server.workers, 5);
    assert_eq!(config.server.keep_alive_seconds, 9);
    assert_eq!(config.database.pool_size, 7);
    assert_eq!(config.runtimes.strategy, Strategy::Spread);
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn a_password_of_digits_stays_what_it_is() {
    let config = load(None, &[("OMGSERVERS__BOOTSTRAP__ADMIN_PASSWORD", "0012345678")]).unwrap();
    assert_eq!(config.bootstrap.admin_password.unwrap().expose(), "0012345678");
}

#[test]
fn the_state_directory_of_systemd_is_the_default_data_directory() {
    let systemd = ("STATE_DIRECTORY", "/var/lib/omgservers:/var/lib/other");
    assert_eq!(load(None, &[systemd]).unwrap().data_dir, PathBuf::from("/var/lib/omgservers"));
    let both = [systemd, ("OMGSERVERS__DATA_DIR", "/srv/b")];
    assert_eq!(load(None, &both).unwrap().data_dir, PathBuf::from("/srv/b"));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_key_and_its_origin() {
    let file =
        "colour = 'red'\n[server]\nworkers = 'many'\nwrokers = 2\n[nonsense]\na = 1\n[log]\nformat = 'xml'";
    let found =
        issues(Some(file), &[("OMGSERVERS__DATABASE__POOL_SIZE", "few"), ("OMGSERVERS__DATABASE__X", "1")]);
    assert_eq!(found.len(), 7, "{found:#?}");
    let about = |key: &str| {
        let start = format!("{key}: ");
        found
            .iter()
            .find(|it| it.starts_with(&start))
            .unwrap_or_else(|| panic!("nothing about {key}: {found:#?}"))
    };
    assert!(
        about("server.wrokers").contains("no such setting") && about("server.wrokers").contains("workers")
    );
    assert!(about("server.wrokers").contains("omgservers.toml"), "{found:#?}");
    assert!(about("server.workers").contains("many"), "{found:#?}");
    assert!(about("log.format").contains("xml"), "{found:#?}");
    assert!(about("nonsense").contains("no such section"));
    assert!(about("colour").contains("no such section"));
    assert!(about("database.pool_size").contains("(from OMGSERVERS__DATABASE__POOL_SIZE)"), "{found:#?}");
    assert!(about("database.x").contains("(from OMGSERVERS__DATABASE__X)"), "{found:#?}");
}

#[test]
fn values_that_make_no_sense_are_reported_with_the_allowed_ones() {
    let file = "
        [server]\nbind = 'here'\nmetrics_bind = 'there'\npublic_url = 'games.example.com'
        [database]\nurl = 'mysql://x'\npool_size = 1
        [registry]\nmode = 'external'
        [log]\nfilter = 'a=b=c'
        [bootstrap]\nadmin_password = 'short'
        [tokens]\nconnect_seconds = 1
        [limits]\npasswords_burst = 0
        [clients]\nmax_profile_bytes = 3_000_000
        [runtimes]\ndefault_cpu = 4_294_967_295\ndefault_memory_mb = 4_294_967_295
        [pool]\npublic_address = 'https://games.example.com'
        [[pool.hosts]]\nuri = 'http://x'\ncpu_count = 0\nmemory_mb = 1\npublic_address = 'x:7777'";
    let found = issues(Some(file), &[]);
    for key in [
        "server.bind: ",
        "server.public_url: ",
        "database.url: ",
        "database.pool_size: ",
        "registry.address: ",
        "registry.event_secret: ",
        "log.filter: ",
        "bootstrap.admin_password: ",
        "pool.hosts.0.uri: ",
        "pool.hosts.0: ",
        "tokens.connect_seconds: ",
        "server.metrics_bind: ",
        "limits.passwords_burst: ",
        "clients.max_profile_bytes: ",
        "runtimes.default_cpu: ",
        "runtimes.default_memory_mb: ",
        "pool.public_address: ",
        "pool.hosts.0.public_address: ",
    ] {
        assert!(found.iter().any(|it| it.starts_with(key)), "nothing about {key}{found:#?}");
    }
    assert!(!found.iter().any(|it| it.contains("short") || it.contains("mysql://x")), "secrets: {found:#?}");
}

#[test]
fn a_file_that_is_no_toml_is_reported_with_the_line() {
    let found = issues(Some("[server\n"), &[]);
    assert!(found[0].contains("omgservers.toml") && found[0].contains("line 1"), "{found:#?}");
}

#[test]
fn a_secret_can_be_in_a_file_and_not_in_two_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "correct horse\n").unwrap();
    let path = path.to_str().unwrap();
    let file = ("OMGSERVERS__BOOTSTRAP__SUPPORT_PASSWORD_FILE", path);
    let config = load(None, &[file]).unwrap();
    assert_eq!(config.bootstrap.support_password.unwrap().expose(), "correct horse");

    let both = issues(None, &[file, ("OMGSERVERS__BOOTSTRAP__SUPPORT_PASSWORD", "battery staple")]);
    assert!(both[0].contains("both given"), "{both:#?}");
    let missing = issues(None, &[("OMGSERVERS__DATABASE__URL_FILE", "/no/such/file")]);
    assert!(missing[0].contains("/no/such/file"), "{missing:#?}");
}

#[test]
fn lists_can_come_from_the_environment() {
    let config = load(
        None,
        &[
            ("OMGSERVERS__LIMITS__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
            ("OMGSERVERS__POOL__HOSTS__0__URI", "unix:///run/a.sock"),
            ("OMGSERVERS__POOL__HOSTS__0__CPU_COUNT", "4"),
            ("OMGSERVERS__POOL__HOSTS__0__MEMORY_MB", "2048"),
            ("OMGSERVERS__POOL__HOSTS__1__URI", "tcp://b:2376"),
            ("OMGSERVERS__POOL__HOSTS__1__CPU_COUNT", "8"),
            ("OMGSERVERS__POOL__HOSTS__1__MEMORY_MB", "4096"),
            ("OMGSERVERS__POOL__HOSTS__1__STATE", "cordoned"),
            ("OMGSERVERS__RUNTIMES__SERVICE_URL", "http://a:8080"),
            ("OMGSERVERS__REGISTRY__ADDRESS", "a:8080"),
        ],
    )
    .unwrap();
    assert_eq!(config.limits.trusted_proxies.len(), 2);
    let hosts: Vec<&str> = config.pool.hosts.iter().map(|it| it.uri.as_str()).collect();
    assert_eq!(hosts, ["unix:///run/a.sock", "tcp://b:2376"]);
    let states: Vec<HostState> = config.pool.hosts.iter().map(|it| it.state).collect();
    assert_eq!(states, [HostState::Active, HostState::Cordoned]);
    let wrong = issues(None, &[("OMGSERVERS__POOL__HOSTS__0__COLOUR", "red")]);
    assert!(wrong[0].starts_with("pool.hosts: ") && wrong[0].contains("colour"), "{wrong:#?}");
}

/// A configuration with one host and these lines before it.
fn with_host(uri: &str, lines: &str) -> String {
    format!("{lines}\n[[pool.hosts]]\nuri = '{uri}'\ncpu_count = 1\nmemory_mb = 1024")
}

#[test]
fn hosts_on_other_machines_need_names_that_lead_here() {
    let names = "[runtimes]\nservice_url = 'http://10.0.0.1:8080'\n";
    let own = "[runtimes]\nservice_url = 'http://host.docker.internal:8080'\n";
    let public = "[server]\npublic_url = 'https://games.example.com'\n";
    let [service, registry] = ["runtimes.service_url: must be a URL", "registry.address: must be host:port"];
    for (lines, missing) in [
        (String::new(), vec![service, registry]),
        (names.to_owned(), vec![registry]),
        (format!("{names}[registry]\naddress = 'localhost:8080'"), vec![registry]),
        (format!("{names}[server]\npublic_url = 'http://127.0.0.1:8080'"), vec![registry]),
        (format!("{own}{public}"), vec![service]),
        (public.to_owned(), vec![service]),
        (format!("{names}{public}"), vec![]),
        (format!("{names}[registry]\naddress = '10.0.0.1:8080'"), vec![]),
    ] {
        let loaded = load(Some(&with_host("tcp://10.0.0.2:2376", &lines)), &[]);
        let found: Vec<String> =
            loaded.err().into_iter().flat_map(|it| it.0).map(|it| it.to_string()).collect();
        assert_eq!(found.len(), missing.len(), "{lines}: {found:#?}");
        for (found, missing) in found.iter().zip(missing) {
            assert!(found.starts_with(missing) && found.contains("tcp://10.0.0.2:2376"), "{lines}: {found}");
        }
    }
    for uri in
        ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375"]
    {
        load(Some(&with_host(uri, "")), &[]).unwrap_or_else(|it| panic!("{uri}: {it}"));
    }
}

#[test]
fn a_host_without_a_state_is_active() {
    for (line, state) in [
        ("", HostState::Active),
        ("state = 'active'", HostState::Active),
        ("state = 'cordoned'", HostState::Cordoned),
        ("state = 'draining'", HostState::Draining),
    ] {
        let file = format!("{}\n{line}", with_host("unix:///x", ""));
        assert_eq!(load(Some(&file), &[]).unwrap().pool.hosts[0].state, state);
    }
    let found = issues(Some(&format!("{}\nstate = 'away'", with_host("unix:///x", ""))), &[]);
    assert!(found[0].starts_with("pool.hosts") && found[0].contains("away"), "{found:#?}");
}

#[test]
fn what_is_printed_hides_secrets_and_can_be_read_again() {
    let file = "[database]\nurl = 'postgres://a:hunter22@db/x'\n[bootstrap]\nadmin_password = 'hunter22'\n[[pool.hosts]]\nuri = 'unix:///x'\ncpu_count = 1\nmemory_mb = 100";
    let config = load(Some(file), &[]).unwrap();
    let printed = config.to_toml().unwrap();
    assert!(!printed.contains("hunter22"), "{printed}");
    assert!(!format!("{config:?}").contains("hunter22"));
    assert!(printed.contains("admin_password = \"***\""), "{printed}");
    let again: toml::Table = printed.parse().unwrap();
    assert_eq!(again["pool"]["hosts"][0]["max_containers"].as_integer(), Some(1000));
}

#[test]
fn the_checked_in_example_file_is_up_to_date() {
    let text = config::example();
    #[expect(clippy::disallowed_methods, reason = "a switch of the developer's")]
    if std::env::var("UPDATE_GENERATED").is_ok() {
        fs::write(GENERATED, &text).unwrap();
    }
    let there = fs::read_to_string(GENERATED).unwrap_or_default();
    assert!(there == text, "deploy/omgservers.example.toml is old: run `make generate`");
}

#[test]
fn the_example_file_is_the_defaults_and_its_examples_are_good() {
    assert_eq!(load(Some(&config::example()), &[]).unwrap(), Config::default());
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let example = config::example();
    // The settings without a default, one after the other: some exclude each other or name files.
    let mut section = String::new();
    let mut after_no_default = false;
    let mut seen = 0;
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some(setting) =
            line.strip_prefix('#').filter(|it| !it.is_empty() && !it.starts_with(' '))
        {
            let text =
                if section.is_empty() { setting.to_owned() } else { format!("[{section}]\n{setting}") };
            let table: toml::Table = text.parse().unwrap_or_else(|it| panic!("{text}: {it}"));
            let (key, value) = match table.get(&section) {
                Some(inner) => inner.as_table().unwrap().iter().next().unwrap(),
                None => table.iter().next().unwrap(),
            };
            let default = if section.is_empty() { defaults.get(key) } else { defaults[&section].get(key) };
            assert_eq!(default, (!after_no_default).then_some(value), "{section}.{key}");
            if after_no_default && !key.ends_with("_file") {
                load(Some(&text), &[]).unwrap_or_else(|it| panic!("{text}: {it}"));
            }
            seen += 1;
        }
        after_no_default = line.starts_with("# No default");
    }
    assert!(seen > 45, "only {seen} settings");
}

#[test]
fn check_fails_with_every_mistake_and_print_shows_what_is_in_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    fs::write(&path, "[server]\nwrokers = 2\n[log]\nformat = 'xml'\n").unwrap();
    let output = omgservers().args(["config", "check", "--config"]).arg(&path).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("server.wrokers") && errors.contains("log.format") && errors.contains("bad.toml"),
        "{errors}"
    );

    let good = omgservers().args(["config", "check"]).output().unwrap();
    assert!(good.status.success());
    let printed = omgservers()
        .args(["config", "print", "--data-dir", "/srv/x"])
        .env("OMGSERVERS__BOOTSTRAP__ADMIN_PASSWORD", "hunter22")
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("data_dir = \"/srv/x\"") && !printed.contains("hunter22"), "{printed}");
}
