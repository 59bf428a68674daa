//! `omgservers matchmaking replay`.

use std::{fs, path::PathBuf, process::Output};

use tempfile::TempDir;

use crate::program::omgservers;

const VERSION: &str = r#"{"modes":[{"name":"duel","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":10,
        "expansions":[{"after":5,"max_difference":100}]}]}}]}"#;

struct Files {
    folder: TempDir,
}

impl Files {
    fn new(log: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(files.path("version.json"), VERSION).unwrap();
        fs::write(files.path("log.jsonl"), log).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replay(&self, mode: &str, more: &[&str]) -> Output {
        let mut command = omgservers();
        command.args(["matchmaking", "replay", "--mode", mode, "--config"]).arg(self.path("version.json"));
        command.args(more).arg(self.path("log.jsonl")).output().unwrap()
    }

    fn refused(&self, mode: &str) -> String {
        let output = self.replay(mode, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

fn add(at: i64, id: u32, skill: u32) -> String {
    format!(
        r#"{{"at_ms":{at},"mode":"duel","event":"add","ticket":{{"id":"{id}","place":{id},"clients":["{id}"],"attributes":{{"skill":{skill}}},"entered":{at}}}}}"#
    )
}

#[test]
fn a_recorded_log_is_replayed_against_a_rule_set() {
    let lines =
        [add(0, 1, 1000), add(1000, 2, 1005), add(2000, 3, 1000), add(4000, 4, 1090), add(60_000, 5, 5000)];
    let cancel = r#"{"at_ms":61000,"event":"cancel","ticket_id":"5"}"#;
    let files = Files::new(&format!("{}\n{cancel}\n", lines.join("\n")));
    let output = files.replay("duel", &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["matched"], 4);
    assert_eq!(report["cancelled"], 1);
    assert_eq!(report["matches"], 2);
    // The third waits for the fourth, until both have widened: at 4 s + 5 s.
    assert_eq!(report["waited_ms"]["max"], 7000.0);
    assert_eq!(report["rules"][0]["rule"], "skill");
    assert_eq!(report["rules"][0]["median"], 5.0);
    assert_eq!(report["rules"][0]["max"], 90.0);

    let text = String::from_utf8(files.replay("duel", &[]).stdout).unwrap();
    assert!(text.contains("difference by rule skill") && text.contains("waiting time"), "{text}");
}

#[test]
fn what_is_wrong_is_named() {
    let files = Files::new(&format!("{}\n{}\n", add(0, 1, 1), r#"{"at_ms":1,"event":"dance"}"#));
    let output = files.refused("duel");
    assert!(output.contains("log.jsonl: line 2: unknown variant `dance`"), "{output}");
    let output = files.refused("ctf");
    assert!(output.contains("version.json: no mode `ctf`; it has `duel`"), "{output}");
    fs::write(files.path("log.jsonl"), add(0, 1, 1).replace("duel", "ctf")).unwrap();
    let output = files.refused("duel");
    assert!(output.contains("no ticket for the mode `duel`, only for: `ctf`"), "{output}");
    fs::write(files.path("log.jsonl"), add(0, 1, 1).replace(r#""clients":["1"],"#, "")).unwrap();
    let output = files.refused("duel");
    assert!(output.contains("line 1: missing field `clients`"), "{output}");
    fs::write(files.path("version.json"), VERSION.replace("\"max_players\":2", "\"max_players\":1")).unwrap();
    let output = files.refused("duel");
    assert!(output.contains("version.json: `config.modes[0].max_players`"), "{output}");
}
