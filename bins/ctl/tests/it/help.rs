use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};
use omgservers_client::api::entrypoint::EntrypointRole;
use omgservers_ctl::Cli;

/// The help of a command and of everything below it.
fn help(command: &mut Command, path: &str, text: &mut String) {
    let path = format!("{path} {}", command.get_name());
    writeln!(text, "$ {} -h\n{}", path.trim(), command.render_help()).unwrap();
    for below in command.get_subcommands_mut().filter(|it| it.get_name() != "help") {
        help(below, &path, text);
    }
}

#[test]
fn the_checked_in_help_text_is_up_to_date() {
    let mut text = String::new();
    let mut command = Cli::command();
    command.build();
    help(&mut command, "", &mut text);
    let text: String = text.lines().map(|it| format!("{}\n", it.trim_end())).collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("help.txt");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    let before = fs::read_to_string(&golden).unwrap_or_default();
    assert!(before == text, "the help has changed: look at it, then run `make generate`");
}

#[test]
fn every_endpoint_has_a_command_and_every_command_an_endpoint() {
    let cli = Cli::command();
    for role in EntrypointRole::ALL {
        // A game server isn't run from a command line.
        if role == EntrypointRole::Runtime {
            continue;
        }
        let commands: Vec<_> = cli
            .find_subcommand(role.as_str())
            .unwrap()
            .get_subcommands()
            .map(|it| it.get_name().to_owned())
            .collect();
        // What a player sends in a session isn't a matter of single commands.
        let verbs: Vec<_> = role.endpoints().iter().filter(|it| !it.waits).map(|it| it.verb).collect();
        assert_eq!(commands, verbs, "{}", role.as_str());
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
