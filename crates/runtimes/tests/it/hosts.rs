//! Hosts of the pool: what they take, and what happens when they go.

use std::sync::Arc;

use omgservers_core::Worker as _;
use omgservers_runtimes::{
    FakeHost, FakeHosts, HostConfig, HostState, NewRuntime, RuntimeState, Runtimes as _, RuntimesConfig,
    Strategy,
    host::fake::{HostCall, HostFault},
    problems,
};

use crate::fixture::{Fixture, HOST, config, host_config};

const OTHER: &str = "tcp://two:2376";

async fn two_hosts(config: RuntimesConfig, pool: &[HostConfig]) -> (Fixture, FakeHost) {
    let (one, two) = (FakeHost::new(), FakeHost::new());
    let hosts = FakeHosts::new([(HOST.into(), one.clone()), (OTHER.into(), two.clone())]);
    (Fixture::on(config, Arc::new(hosts), one, pool).await, two)
}

#[tokio::test]
async fn a_host_is_filled_exactly_and_the_next_takes_the_rest() {
    let pool = [host_config(HOST), host_config(OTHER)];
    let (mut fixture, two) = two_hosts(config(), &pool).await;
    for _ in 0..5 {
        fixture.wanted_lobby().await;
    }
    fixture.run().await;
    let mut counts = [fixture.host.containers().len(), two.containers().len()];
    counts.sort_unstable();
    // 2 cores each, one core for each runtime: the fifth waits.
    assert_eq!(counts, [2, 2]);
    assert_eq!(fixture.runtimes.failures(fixture.deployment).await.unwrap().len(), 1);
}

#[tokio::test]
async fn spreading_takes_turns() {
    let pool = [host_config(HOST), host_config(OTHER)];
    let (mut fixture, two) =
        two_hosts(RuntimesConfig { strategy: Strategy::Spread, ..config() }, &pool).await;
    fixture.wanted_lobby().await;
    fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!([fixture.host.containers().len(), two.containers().len()], [1, 1]);
}

#[tokio::test]
async fn cordoned_and_draining_hosts_get_nothing_and_keep_what_they_have() {
    let (mut fixture, two) = two_hosts(config(), &[host_config(HOST), host_config(OTHER)]).await;
    let first = fixture.running_lobby().await;
    for state in [HostState::Cordoned, HostState::Draining] {
        let pool = [HOST, OTHER].map(|uri| HostConfig { state, ..host_config(uri) });
        fixture.runtimes.ensure_pool(&pool).await.unwrap();
        let waits = fixture.wanted_lobby().await;
        fixture.run().await;
        assert_eq!(fixture.attempts(waits).await, 1);
        assert!(fixture.is_running(first).await);
        fixture.runtimes.stop(&[waits]).await.unwrap();
    }
    let pool = [HostConfig { state: HostState::Cordoned, ..host_config(HOST) }, host_config(OTHER)];
    fixture.runtimes.ensure_pool(&pool).await.unwrap();
    let second = fixture.running_lobby().await;
    assert_eq!(two.running(second).len(), 1);
}

#[tokio::test]
async fn a_host_that_misses_answers_gets_nothing_new() {
    let mut fixture = Fixture::new().await;
    fixture.run().await;
    fixture.host.set_reachable(false);
    fixture.pass(3).await;
    fixture.host.set_reachable(true);
    fixture.host.fail_next(HostCall::List, HostFault::Refuse("busy".into()));
    // It doesn't answer the next question either; so it gets nothing.
    let id = fixture.wanted_lobby().await;
    fixture.pass(1).await;
    assert_eq!(fixture.host.count(HostCall::Create), 0);
    fixture.pass(2).await;
    assert!(fixture.is_running(id).await);
}

#[tokio::test]
async fn a_host_that_is_silent_for_half_a_minute_has_lost_its_runtimes() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let password = fixture.password(id);
    fixture.host.set_reachable(false);
    fixture.pass(29).await;
    assert!(fixture.is_running(id).await, "a short cut is survived");
    fixture.pass(2).await;
    assert!(fixture.failure(id).await.reason.contains("host lost"));
    // What comes back is fenced, and removed.
    assert!(fixture.runtimes.verify(id, &password).await.unwrap_err().is(problems::STOPPED));
    assert_eq!(fixture.host.running(id).len(), 1);
    fixture.host.set_reachable(true);
    fixture.pass(1).await;
    assert_eq!(fixture.host.containers().len(), 0);
    assert!(fixture.failure(id).await.reason.contains("host lost"));
    let next = fixture.wanted_lobby().await;
    fixture.run().await;
    assert!(fixture.is_running(next).await, "the host is of use again");
}

#[tokio::test]
async fn a_cut_that_ends_in_time_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    let state = fixture.state(id).await;
    fixture.host.set_reachable(false);
    fixture.pass(20).await;
    fixture.host.set_reachable(true);
    fixture.pass(40).await;
    assert_eq!(fixture.state(id).await, state);
    assert_eq!(fixture.host.count(HostCall::Create), 1);
}

#[tokio::test]
async fn an_attempt_on_a_host_that_is_lost_is_the_last() {
    let (mut fixture, two) = two_hosts(config(), &[host_config(HOST), host_config(OTHER)]).await;
    let id = fixture.wanted_lobby().await;
    let hosts = [fixture.host.clone(), two];
    for host in &hosts {
        host.fail_always(HostCall::Start, Some(HostFault::Hang));
    }
    fixture.run().await;
    let at = usize::from(fixture.host.containers().is_empty());
    hosts[at].set_reachable(false);
    hosts[1 - at].fail_always(HostCall::Start, None);
    fixture.pass(70).await;
    // It may have run there.
    fixture.failure(id).await;
    assert_eq!(hosts[1 - at].containers().len(), 0);
    hosts[at].set_reachable(true);
    fixture.pass(2).await;
    assert_eq!(hosts[at].containers().len(), 0);
    let next = fixture.wanted_lobby().await;
    hosts[at].fail_always(HostCall::Start, None);
    fixture.pass(2).await;
    assert!(fixture.is_running(next).await);
}

#[tokio::test]
async fn stopping_doesnt_wait_for_a_host_that_is_lost() {
    let mut fixture = Fixture::new().await;
    let id = fixture.running_lobby().await;
    fixture.host.set_reachable(false);
    fixture.runtimes.stop(&[id]).await.unwrap();
    fixture.pass(20).await;
    assert_eq!(fixture.state(id).await, Some(RuntimeState::Stopping));
    fixture.pass(15).await;
    assert_eq!(fixture.state(id).await, None);
    fixture.host.set_reachable(true);
    fixture.pass(1).await;
    assert_eq!(fixture.host.containers().len(), 0);
}

#[tokio::test]
async fn a_backend_without_hosts_reports_that() {
    let mut fixture = Fixture::on(config(), Arc::new(FakeHost::new()), FakeHost::new(), &[]).await;
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let reason = fixture.runtimes.failures(fixture.deployment).await.unwrap().remove(0).reason;
    assert!(reason.contains("0 of 0 hosts"), "{reason}");
}

#[tokio::test]
async fn a_host_that_was_never_there_is_no_place() {
    let mut fixture = Fixture::new().await;
    fixture.host.set_reachable(false);
    let id = fixture.wanted_lobby().await;
    fixture.run().await;
    assert_eq!(fixture.attempts(id).await, 1);
    let reason = fixture.runtimes.failures(fixture.deployment).await.unwrap().remove(0).reason;
    assert!(reason.contains("0 of 1 hosts"), "{reason}");
    fixture.host.set_reachable(true);
    fixture.pass(1).await;
    assert!(fixture.is_running(id).await);
}

#[tokio::test]
async fn the_pool_is_what_the_operator_describes() {
    let fixture = Fixture::new().await;
    let pool = fixture.runtimes.ensure_pool(&[host_config(HOST), host_config(OTHER)]).await.unwrap();
    let before = fixture.runtimes.hosts().await.unwrap();
    let larger = HostConfig { cpu: 800, public_address: Some("game.example".into()), ..host_config(HOST) };
    assert_eq!(fixture.runtimes.ensure_pool(&[larger.clone(), host_config(OTHER)]).await.unwrap(), pool);
    let after = fixture.runtimes.hosts().await.unwrap();
    assert_eq!(
        before.iter().map(|it| it.id).collect::<Vec<_>>(),
        after.iter().map(|it| it.id).collect::<Vec<_>>()
    );
    assert!(after.iter().any(|it| it.config == larger));
    fixture.runtimes.ensure_pool(&[host_config(OTHER)]).await.unwrap();
    assert_eq!(fixture.runtimes.hosts().await.unwrap().len(), 1, "an empty host goes at once");
}

#[tokio::test]
async fn a_host_that_isnt_described_any_more_goes_when_it_is_empty() {
    let (mut fixture, two) = two_hosts(config(), &[host_config(HOST)]).await;
    let stays = fixture.running_lobby().await;
    fixture.runtimes.ensure_pool(&[host_config(OTHER)]).await.unwrap();
    let goes_elsewhere = fixture.running_lobby().await;
    assert!(fixture.is_running(stays).await);
    assert_eq!(two.running(goes_elsewhere).len(), 1);
    assert_eq!(fixture.runtimes.hosts().await.unwrap().len(), 2);
    fixture.runtimes.stop(&[stays]).await.unwrap();
    fixture.run().await;
    assert_eq!(fixture.host.containers().len(), 0);
    fixture.runtimes.ensure_pool(&[host_config(OTHER)]).await.unwrap();
    assert_eq!(fixture.runtimes.hosts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn hosts_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let good = host_config(HOST);
    for bad in [
        vec![HostConfig { uri: "http://one".into(), ..good.clone() }],
        vec![HostConfig { cpu: 0, ..good.clone() }],
        vec![HostConfig { memory: 0, ..good.clone() }],
        vec![HostConfig { cpu: u32::MAX, ..good.clone() }],
        vec![good.clone(), good.clone()],
    ] {
        let problem = fixture.runtimes.ensure_pool(&bad).await.unwrap_err();
        assert!(problem.is(problems::WRONG_HOST), "{problem}");
    }
    assert_eq!(fixture.runtimes.hosts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_hosts_of_the_pool_are_pinged() {
    let fixture = Fixture::new().await;
    assert!(fixture.runtimes.ping_host(HOST).await.unwrap());
    fixture.host.set_reachable(false);
    assert!(!fixture.runtimes.ping_host(HOST).await.unwrap());
    for uri in ["tcp://169.254.169.254:80", "", "unix:///var/run/docker.sock"] {
        assert!(fixture.runtimes.ping_host(uri).await.unwrap_err().is(problems::UNKNOWN_HOST), "{uri}");
    }
}

#[tokio::test]
async fn the_local_host_counts_a_core_as_a_hundred() {
    let local = HostConfig::local(8, 16_384);
    assert_eq!((local.cpu, local.memory, local.max_containers), (800, 16_384, 1000));
    // 800 for eight cores holds eight runtimes of one core, not eight hundred.
    let pool = [HostConfig { uri: HOST.into(), ..local }];
    let host = FakeHost::new();
    let mut fixture = Fixture::on(config(), Arc::new(host.clone()), host, &pool).await;
    for _ in 0..9 {
        let new = NewRuntime { cpu_limit: 100, memory_limit: 1, ..fixture.lobby() };
        fixture.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
    }
    fixture.run().await;
    assert_eq!(fixture.host.containers().len(), 8);
    assert_eq!(fixture.reconciler.name(), "runtimes.reconcile");
}
