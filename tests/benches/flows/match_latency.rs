//! From the last ticket that a match needs to the assignments of all of its players.

use omgservers_tests::Backend;

use crate::{
    host::Host,
    matches::{Arena, Part, Polling},
    net::{Wire, connect},
    report::{Bar, Measurement},
    rounds::percentile,
};

const MATCHES: usize = 250;

pub(crate) async fn measure(backend: &Backend, host: &Host) -> anyhow::Result<Vec<Measurement>> {
    let mut arena = Arena::open(backend, host, MATCHES, 2).await?;
    let times = tokio::task::block_in_place(|| {
        let guests = arena.stage.guests(2 * MATCHES)?;
        let mut table = arena.seat(&guests, 1)?;
        let address = arena.stage.address;
        for token in &arena.matches {
            let wire = Wire::new(connect(address)?, Vec::new())?;
            table.seat(wire, Part::Match(Polling::new(address, token)))?;
        }
        let lobby = 2 * MATCHES;
        // The game servers wait for players from here on.
        table.turn(lobby + 1..=lobby + MATCHES)?;
        let mut times = Vec::with_capacity(MATCHES);
        for pair in 0..MATCHES {
            table.turn([lobby])?;
            let took = table.turn([2 * pair, 2 * pair + 1, lobby])?;
            times.push(took.as_secs_f64() * 1e3);
        }
        anyhow::Ok(times)
    })?;
    arena.stage.close().await;
    let (p50, p99) = (percentile(times.clone(), 50), percentile(times.clone(), 99));
    eprintln!("{MATCHES} matches, one after the other: p50 {p50:.1} ms, p99 {p99:.1} ms");
    Ok(vec![
        Measurement::new("match_latency_p50", "Last needed ticket to both assignments, warm match", "ms")
            .absolute(p50, Bar::AtMost(10.0)),
        Measurement::new("match_latency_p99", "The same, p99 of 250", "ms").absolute(p99, Bar::AtMost(50.0)),
    ])
}
