//! Ten thousand players ask at once, and a thousand matches of ten are warm: more, a configuration
//! may not ask for.

use omgservers_tests::Backend;

use crate::{
    host::Host,
    matches::Arena,
    report::{Bar, Measurement},
    rounds::median,
};

const PLAYERS: usize = 10_000;
const SIZE: usize = 10;
const TIMES: usize = 3;

pub(crate) async fn measure(backend: &Backend, host: &Host) -> anyhow::Result<Vec<Measurement>> {
    let mut seconds = Vec::new();
    for time in 1..=TIMES {
        let mut arena = Arena::open(backend, host, PLAYERS / SIZE, SIZE).await?;
        let took = tokio::task::block_in_place(|| {
            let guests = arena.stage.guests(PLAYERS)?;
            let mut table = arena.seat(&guests, PLAYERS)?;
            // All at once: everybody begins to wait, then the lobby asks for all.
            table.turn(0..=PLAYERS)
        })?;
        eprintln!("{PLAYERS} tickets, time {time}: {took:.2?}");
        seconds.push(took.as_secs_f64());
        arena.stage.close().await;
    }
    Ok(vec![
        Measurement::new(
            "tickets",
            "10,000 tickets at once, 1,000 warm matches of ten, until all are assigned",
            "s",
        )
        .absolute(median(seconds), Bar::AtMost(1.5)),
    ])
}
