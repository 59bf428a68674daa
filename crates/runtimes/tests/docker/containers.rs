//! The host by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{models::ContainerCreateBody, query_parameters::CreateContainerOptionsBuilder};
use futures_util::StreamExt as _;
use omgservers_api::Problem;
use omgservers_runtimes::{
    ContainerHost as _, DockerHost, HostConfig, PullTokens,
    host::{ContainerStatus, HostError, HostEvent, ImageName, Inspection},
};

use crate::installation::{Installation, Mode, local};

const GRACE: Duration = Duration::from_secs(3);

/// Says that nobody should have asked.
struct NoTokens;

#[async_trait::async_trait]
impl PullTokens for NoTokens {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        panic!("a token for {repository} was asked for");
    }
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_container_is_started_seen_stopped_and_removed() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Serve, 41).await;
    host.ping().await.unwrap();
    host.ensure_image(&spec.image, &NoTokens).await.unwrap();
    host.start(&spec).await.unwrap();
    let words = installation.words(spec.attempt).await;
    assert!(words.contains("env OMGSERVERS_PASSWORD=a+b/c=\n"), "{words}");
    let list = host.list().await.unwrap();
    assert_eq!(
        list.iter().map(|it| (it.attempt, it.status)).collect::<Vec<_>>(),
        [(spec.attempt, ContainerStatus::Running)]
    );
    assert_eq!(host.inspect(spec.attempt).await.unwrap().status, ContainerStatus::Running);
    let begin = Instant::now();
    host.remove(spec.attempt, GRACE).await.unwrap();
    assert!(begin.elapsed() < GRACE, "SIGTERM is enough");
    assert_eq!(host.inspect(spec.attempt).await.unwrap().status, ContainerStatus::Gone);
    host.remove(spec.attempt, GRACE).await.unwrap();
    assert_eq!(host.list().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_container_has_no_more_than_a_game_server_needs() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Serve, 42).await;
    host.start(&spec).await.unwrap();
    let words = installation.words(spec.attempt).await;
    for fact in [
        "root false",
        "tmp true",
        "CapEff: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "host.docker.internal",
    ] {
        assert!(words.contains(fact), "{fact}: {words}");
    }
    let seen = installation.inspect(spec.attempt).await.unwrap();
    let limits = seen.host_config.unwrap();
    assert_eq!((limits.memory, limits.memory_swap), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((limits.nano_cpus, limits.pids_limit), (Some(500_000_000), Some(256)));
    assert_eq!(limits.cap_drop, Some(vec!["ALL".into()]));
    assert_eq!(limits.readonly_rootfs, Some(true));
    assert!(limits.tmpfs.unwrap()["/tmp"].contains("noexec,nosuid"));
    assert_eq!(limits.ulimits.unwrap()[0].hard, Some(4096));
    let log = limits.log_config.unwrap();
    assert_eq!(log.config.unwrap()["max-size"], "1m");
    assert_eq!(limits.restart_policy.unwrap().name.unwrap().to_string(), "no");
    let labels = seen.config.unwrap().labels.unwrap();
    assert_eq!(labels["omgservers.runtime"], "42", "nobody names a container for another one");
    assert_eq!((labels["stage"].as_str(), labels["omgservers.tenant"].as_str()), ("9", "5"));
    assert_eq!(
        (labels["omgservers.epoch"].as_str(), labels["omgservers.qualifier"].as_str()),
        ("1", "MATCH")
    );
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_deaf_container_is_ended_by_force() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Deaf, 43).await;
    host.start(&spec).await.unwrap();
    installation.words(spec.attempt).await;
    let begin = Instant::now();
    host.remove(spec.attempt, Duration::from_secs(1)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "it had its grace");
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(installation.containers().await.len(), 0);
}

async fn ended(installation: &Installation, mode: Mode) -> omgservers_runtimes::host::Exit {
    let host = installation.host();
    let spec = installation.spec(mode, 44).await;
    let mut events = host.events().await.unwrap();
    // The stream is asked for when it is polled first.
    let answered = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if matches!(event, Ok(HostEvent { status: ContainerStatus::Ended, .. })) {
                return event.unwrap().attempt;
            }
        }
        panic!("the stream ended");
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    host.start(&spec).await.unwrap();
    let attempt = tokio::time::timeout(Duration::from_secs(10), answered).await.unwrap().unwrap();
    assert_eq!(attempt, spec.attempt);
    let begin = Instant::now();
    loop {
        // Docker reports "out of memory" a moment before the end.
        match host.inspect(attempt).await.unwrap() {
            Inspection { status: ContainerStatus::Ended, exit } => return exit,
            other => assert!(begin.elapsed() < Duration::from_secs(5), "{other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn an_exit_code_and_the_end_of_the_log_are_seen() {
    let installation = Installation::new();
    let exit = ended(&installation, Mode::Fail).await;
    assert_eq!((exit.code, exit.out_of_memory), (7, false));
    assert!(exit.log_tail.contains("the last words"), "{}", exit.log_tail);
    assert!(exit.log_tail.contains("line 100") && !exit.log_tail.contains("line 1\n"), "{}", exit.log_tail);
    assert!(exit.log_tail.lines().count() <= 40);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn lack_of_memory_is_seen() {
    let installation = Installation::new();
    let exit = ended(&installation, Mode::Eat).await;
    assert_eq!((exit.code, exit.out_of_memory), (137, true));
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_same_attempt_twice_is_one_container_and_another_password_replaces_it() {
    let installation = Installation::new();
    let host = installation.host();
    let mut spec = installation.spec(Mode::Serve, 45).await;
    host.start(&spec).await.unwrap();
    let first = installation.inspect(spec.attempt).await.unwrap().id;
    host.start(&spec).await.unwrap();
    assert_eq!(installation.inspect(spec.attempt).await.unwrap().id, first);
    spec.env.insert("OMGSERVERS_PASSWORD".into(), "another".into());
    host.start(&spec).await.unwrap();
    assert_ne!(installation.inspect(spec.attempt).await.unwrap().id, first);
    assert_eq!(host.list().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn only_a_container_that_never_ran_is_removed_as_unstarted() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Short, 51).await;
    assert!(!host.remove_unstarted(spec.attempt).await.unwrap(), "there is none");
    let options = CreateContainerOptionsBuilder::default().name(&installation.name(spec.attempt)).build();
    let body = ContainerCreateBody {
        image: Some(spec.image.digest.clone()),
        labels: Some([("omgservers.installation".to_owned(), installation.id.clone())].into()),
        ..ContainerCreateBody::default()
    };
    installation.docker.create_container(Some(options), body).await.unwrap();
    assert_eq!(host.inspect(spec.attempt).await.unwrap().status, ContainerStatus::Created);
    assert!(host.remove_unstarted(spec.attempt).await.unwrap());
    assert_eq!(host.inspect(spec.attempt).await.unwrap().status, ContainerStatus::Gone);
    host.start(&spec).await.unwrap();
    assert!(!host.remove_unstarted(spec.attempt).await.unwrap(), "it runs");
    let begin = Instant::now();
    while host.inspect(spec.attempt).await.unwrap().status == ContainerStatus::Running {
        assert!(begin.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!host.remove_unstarted(spec.attempt).await.unwrap(), "it ran");
    assert_eq!(host.inspect(spec.attempt).await.unwrap().status, ContainerStatus::Ended);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn what_cant_be_started_leaves_nothing() {
    let installation = Installation::new();
    let host = installation.host();
    let good = installation.spec(Mode::Serve, 46).await;
    let missing = ImageName { repository: "x".into(), digest: format!("sha256:{:064}", 1) };
    let mut spec = good.clone();
    spec.image = missing.clone();
    assert!(matches!(host.ensure_image(&missing, &NoTokens).await, Err(HostError::NoImage(_))));
    let refused = host.start(&spec).await.unwrap_err();
    assert!(matches!(refused.error, HostError::NoImage(_)) && !refused.may_have_run, "{refused:?}");
    // Less than Docker takes.
    let mut spec = good.clone();
    spec.memory = 1;
    let error = host.start(&spec).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("memory"), "{error}");
    assert_eq!(installation.containers().await.len(), 0);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_tenant_has_one_network_as_long_as_it_has_containers() {
    let installation = Installation::new();
    let host = Arc::new(installation.host());
    let specs = [installation.spec(Mode::Serve, 47).await, installation.spec(Mode::Serve, 48).await];
    let both = specs.clone().map(|spec| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.start(&spec).await })
    });
    for started in both {
        started.await.unwrap().unwrap();
    }
    assert_eq!(installation.networks().await.len(), 1);
    let network = installation.docker.inspect_network(&installation.networks().await[0], None).await.unwrap();
    assert_eq!(network.options.unwrap()["com.docker.network.bridge.enable_icc"], "false");
    let prune = async || {
        for _ in 0..3 {
            host.list().await.unwrap();
            host.prune().await.unwrap();
        }
    };
    host.remove(specs[0].attempt, GRACE).await.unwrap();
    prune().await;
    assert_eq!(installation.networks().await.len(), 1, "there is one left");
    host.remove(specs[1].attempt, GRACE).await.unwrap();
    prune().await;
    assert_eq!(installation.networks().await.len(), 0);
    host.start(&specs[0]).await.unwrap();
    assert_eq!(installation.networks().await.len(), 1, "and comes back");
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_network_that_somebody_removed_is_made_again() {
    let installation = Installation::new();
    let host = installation.host();
    let spec = installation.spec(Mode::Serve, 49).await;
    host.start(&spec).await.unwrap();
    host.remove(spec.attempt, GRACE).await.unwrap();
    installation.docker.remove_network(&installation.networks().await[0]).await.unwrap();
    let refused = host.start(&spec).await.unwrap_err();
    assert!(matches!(refused.error, HostError::Refused(_)) && !refused.may_have_run, "{refused:?}");
    host.start(&spec).await.unwrap();
    installation.words(spec.attempt).await;
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn installations_dont_see_each_other() {
    let (one, two) = (Installation::new(), Installation::new());
    let spec = one.spec(Mode::Serve, 50).await;
    one.host().start(&spec).await.unwrap();
    // The same runtime id in another installation is another container.
    let theirs = two.spec(Mode::Serve, 50).await;
    two.host().start(&theirs).await.unwrap();
    assert_eq!((one.containers().await.len(), two.containers().await.len()), (1, 1));
    two.host().remove(theirs.attempt, GRACE).await.unwrap();
    assert_eq!(one.host().inspect(spec.attempt).await.unwrap().status, ContainerStatus::Running);
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_daemon_that_isnt_there_is_reported() {
    let installation = Installation::new();
    let config = Arc::new(installation.config());
    for uri in ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"] {
        let host = HostConfig { uri: uri.into(), ..local() };
        // The client reports an absent socket at once, or at the first request.
        let answer = match DockerHost::connect(Arc::clone(&config), &host) {
            Ok(host) => host.ping().await,
            Err(error) => Err(error),
        };
        assert!(matches!(answer, Err(HostError::Unreachable(_))), "{uri}: {answer:?}");
    }
    let tls = HostConfig { uri: "tcp://127.0.0.1:1".into(), tls: Some("/nowhere".into()), ..local() };
    let error = DockerHost::connect(config, &tls).err().unwrap();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
