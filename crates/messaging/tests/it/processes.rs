//! Two processes on one database that own disjoint slots.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use omgservers_core::{Db, SystemClock};
use omgservers_messaging::SCHEMA;
use omgservers_testkit::TestDb;

use crate::node::{Node, Session, slot};

/// Where the database of a started process is.
const URL: &str = "OMG_TEST_NODE_URL";
/// Its name.
const NAME: &str = "OMG_TEST_NODE_NAME";
/// Marks its answers among what the test runner prints.
const MARK: &str = "answer ";

/// This test executable, started again as a server with mailboxes. It is killed when it is dropped.
struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(name: &str, test_db: &TestDb) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::serve_slots", "--ignored", "--nocapture"])
            .env(URL, test_db.url())
            .env(NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, commands, answers: BufReader::new(answers) }
    }

    /// Sends a command and waits for the answer.
    fn call(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the process ended at {command}");
            if let Some((_, answer)) = line.split_once(MARK) {
                return answer.trim().to_owned();
            }
        }
    }

    fn open(&mut self, number: u16) -> String {
        assert_eq!(self.call(&format!("take {number}")), "ok");
        self.call(&format!("open {number}"))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_served_by_the_next_and_the_other_slots_go_on() {
    let test_db = TestDb::new(&[SCHEMA]).await;
    let (mut one, mut two) = (Process::start("one", &test_db), Process::start("two", &test_db));
    let (third, fourth, fifth) = (one.open(3), one.open(4), two.open(5));
    assert_eq!(one.call(&format!("send {third} 1")), "ok");
    assert_eq!(one.call(&format!("send {fourth} 2")), "ok");
    assert_eq!(two.call(&format!("send {fifth} 3")), "ok");
    assert_eq!(two.call(&format!("send {third} 4")), "core.not_owner");
    // One slot changes hands while its owner lives and doesn't know it.
    assert_eq!(two.call("take 4"), "ok");
    assert_eq!(two.call(&format!("send {fourth} 5")), "ok");
    assert_eq!(one.call(&format!("send {fourth} 6")), "core.not_owner");
    assert_eq!(one.call(&format!("send {third} 7")), "ok");
    // The owner of the rest is killed.
    one.kill();
    assert_eq!(two.call("take 3"), "ok");
    assert_eq!(two.call(&format!("fetch {third}")), "1 7");
    assert_eq!(two.call(&format!("fetch {fourth}")), "2 5");
    assert_eq!(two.call(&format!("fetch {fifth}")), "3");
    // It comes back and takes a slot back: in order, with ids above those in between.
    let mut again = Process::start("one", &test_db);
    assert_eq!(again.call("take 4"), "ok");
    assert_eq!(again.call(&format!("send {fourth} 8")), "ok");
    assert_eq!(again.call(&format!("fetch {fourth}")), "2 5 8");
    assert_eq!(two.call(&format!("send {fourth} 9")), "core.not_owner");
    assert_eq!(two.call(&format!("send {fifth} 10")), "ok");
}

#[tokio::test]
#[ignore = "the process that the test above starts"]
#[expect(clippy::disallowed_methods, reason = "the test hands over the database in the environment")]
async fn serve_slots() {
    let Ok(url) = std::env::var(URL) else { return };
    let db = Db::connect(&url, 1).await.unwrap();
    let clock = Arc::new(SystemClock::default());
    let node = Node::start(&std::env::var(NAME).unwrap(), &db, clock).await;
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tokio::io::stdin()));
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = obey(&node, &line).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{MARK}{answer}").unwrap();
        out.flush().unwrap();
    }
}

async fn obey(node: &Node, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let answer = match *words.as_slice() {
        ["take", number] => node.take(slot(number.parse().unwrap())).await.map(|_| "ok".to_owned()),
        ["open", number] => {
            let Session { user, client, runtime } = node.session(slot(number.parse().unwrap())).await;
            Ok(format!("{user} {client} {runtime}"))
        }
        ["send", user, client, runtime, text] => match node.send(session(user, client, runtime), text) {
            Ok(ack) => ack.wait().await.map(|()| "ok".to_owned()),
            Err(problem) => Err(problem),
        },
        ["fetch", user, client, runtime] => node.fetch(session(user, client, runtime)).await.map(|entries| {
            let text = |body: &str| body.rsplit(':').next().unwrap().trim_end_matches('}').to_owned();
            entries.iter().map(|it| text(&it.body)).collect::<Vec<_>>().join(" ")
        }),
        _ => panic!("no command: {line}"),
    };
    answer.unwrap_or_else(|problem| problem.code().to_owned())
}

fn session(user: &str, client: &str, runtime: &str) -> Session {
    Session {
        user: user.parse().unwrap(),
        client: client.parse().unwrap(),
        runtime: runtime.parse().unwrap(),
    }
}
