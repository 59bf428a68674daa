//! Four players meet, are matched, play, and come back.

use anyhow::{Context as _, bail};
use omgservers_client::{
    Client,
    api::{RuntimeQualifier, interchange::DirectConnection},
};
use serde_json::{Value, json};

use super::{
    duel::{self, Fight, Style},
    guest::Guest,
    steps::Steps,
    studio::Studio,
};

/// Signs four players up, lets them talk in their lobby, and play: two over the dispatcher, two by
/// UDP.
pub(crate) async fn play(client: &Client, studio: &Studio, steps: &mut Steps) -> anyhow::Result<()> {
    let (mut ann, mut bob, mut cleo, mut dan) = steps
        .step("Four players sign up, sign in and begin a session", async {
            let arrive = |name| Guest::arrive(name, client, studio);
            tokio::try_join!(arrive("Ann"), arrive("Bob"), arrive("Cleo"), arrive("Dan"))
        })
        .await?;
    meet([&mut ann, &mut bob, &mut cleo, &mut dan], steps).await?;
    talk(&mut ann, &mut bob, steps).await?;
    over_the_dispatcher([&mut ann, &mut bob], steps).await?;
    by_udp([&mut cleo, &mut dan], steps).await?;
    Ok(())
}

/// All are welcomed, put into a lobby and greeted.
async fn meet(guests: [&mut Guest; 4], steps: &mut Steps) -> anyhow::Result<()> {
    let [ann, bob, cleo, dan] = guests;
    steps
        .step("All are welcomed", async {
            tokio::try_join!(ann.welcome(), bob.welcome(), cleo.welcome(), dan.welcome()).map(|_| ())
        })
        .await?;
    let kind = RuntimeQualifier::Lobby;
    let lobbies = steps
        .step("All are in a lobby, which runs in a container", async {
            tokio::try_join!(ann.assigned(kind), bob.assigned(kind), cleo.assigned(kind), dan.assigned(kind))
        })
        .await?;
    let mut lobbies = vec![lobbies.0.0, lobbies.1.0, lobbies.2.0, lobbies.3.0];
    lobbies.dedup();
    steps.note(&format!("runtime {}", lobbies.join(" and ")))?;
    let greetings = steps
        .step("The lobby greets them", async {
            let greets = |it: &Value| it.get("hello").is_some();
            let what = "a greeting";
            tokio::try_join!(
                ann.receives(what, greets),
                bob.receives(what, greets),
                cleo.receives(what, greets),
                dan.receives(what, greets)
            )
        })
        .await?;
    steps.note(&[greetings.0, greetings.1, greetings.2, greetings.3].join("\n"))
}

/// Two talk in the lobby.
async fn talk(ann: &mut Guest, bob: &mut Guest, steps: &mut Steps) -> anyhow::Result<()> {
    let echo = steps
        .step("Ann says hello, and the lobby echoes it", async {
            ann.session.send("hello")?;
            ann.receives("an echo", |it| it.get("echo").is_some_and(|it| it == "hello")).await
        })
        .await?;
    steps.note(&echo)?;
    let received = steps
        .step("Bob talks to everybody, and Ann hears it", async {
            bob.session.send("all: good evening")?;
            let reported = |it: &Value| it.get("all").is_some_and(|it| it == "good evening");
            tokio::try_join!(ann.receives("Bob", reported), bob.receives("himself", reported)).map(|it| it.0)
        })
        .await?;
    steps.note(&received)
}

async fn over_the_dispatcher(guests: [&mut Guest; 2], steps: &mut Steps) -> anyhow::Result<()> {
    let [ann, bob] = guests;
    let runtime = steps
        .step("Ann and Bob ask for a duel, and are matched", matched([&mut *ann, &mut *bob], "duel"))
        .await?;
    steps.note(&format!("runtime {}", runtime.0))?;
    let fights = steps
        .step("They fight over the dispatcher", async {
            let one = Box::pin(duel::by_room(ann, Style::Bold));
            tokio::try_join!(one, Box::pin(duel::by_room(bob, Style::Playful)))
        })
        .await?;
    back([ann, bob], fights, steps).await
}

async fn by_udp(guests: [&mut Guest; 2], steps: &mut Steps) -> anyhow::Result<()> {
    let [cleo, dan] = guests;
    let title = "Cleo and Dan ask for one by UDP, and are matched";
    let (runtime, directs) = steps.step(title, matched([&mut *cleo, &mut *dan], "duel-udp")).await?;
    let [Some(hers), Some(his)] = directs else { bail!("the match {runtime} has no published port") };
    let port = hers.ports.first().map_or(0, |it| it.port);
    steps.note(&format!("runtime {runtime}, udp {}:{port}", hers.address))?;
    let fights = steps
        .step("They fight by UDP", async {
            let one = Box::pin(duel::by_udp(cleo, Style::Playful, &hers));
            tokio::try_join!(one, Box::pin(duel::by_udp(dan, Style::Bold, &his)))
        })
        .await?;
    back([cleo, dan], fights, steps).await
}

/// Two ask their lobby for a match, and are in the same one.
async fn matched(
    [one, two]: [&mut Guest; 2],
    mode: &str,
) -> anyhow::Result<(String, [Option<DirectConnection>; 2])> {
    for (guest, skill) in [(&mut *one, 1480), (&mut *two, 1520)] {
        guest.session.send(&json!({"play": mode, "skill": skill}))?;
    }
    let kind = RuntimeQualifier::Match;
    let ((first, hers), (second, his)) = tokio::try_join!(one.assigned(kind), two.assigned(kind))?;
    if first != second {
        bail!("{} is in match {first}, {} in match {second}", one.name, two.name);
    }
    Ok((first, [hers, his]))
}

/// Notes the rounds. Both players are back in a lobby, and the winner's profile has one more win.
async fn back(
    [one, two]: [&mut Guest; 2],
    (fight, other): (Fight, Fight),
    steps: &mut Steps,
) -> anyhow::Result<()> {
    steps.note(&duel::rounds(&fight, [&*one, &*two]))?;
    if fight.winner != other.winner {
        bail!("{} and {} don't agree who has won", one.name, two.name);
    }
    let winner = fight.winner.context("nobody has won")?;
    let kind = RuntimeQualifier::Lobby;
    let greets = |it: &Value| it.get("hello").is_some();
    let comes_back = async |guest: &mut Guest| {
        guest.assigned(kind).await?;
        guest.receives("a greeting", greets).await
    };
    let greetings = steps
        .step("Both are back in a lobby, which knows who won", async {
            tokio::try_join!(comes_back(&mut *one), comes_back(&mut *two))
        })
        .await?;
    steps.note(&format!("{}\n{}", greetings.0, greetings.1))?;
    for (guest, greeting) in [(&*one, greetings.0), (&*two, greetings.1)] {
        let expected = u64::from(guest.id() == winner);
        if duel::wins(&greeting) != Some(expected) {
            bail!("the profile of {} should say {expected} wins", guest.name);
        }
    }
    Ok(())
}
