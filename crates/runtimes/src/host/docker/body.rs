//! What a container is allowed: as little as a game server needs.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{
    ContainerSpec, DEPLOYMENT, DockerConfig, EPOCH, INSTALLATION, QUALIFIER, RUNTIME, TENANT, ports,
};

/// The request that makes the container of `spec` in `network`.
pub(super) fn create(
    config: &DockerConfig,
    spec: &ContainerSpec,
    reference: String,
    network: &str,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(reference),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels(config, spec)),
        // A probe costs a process each time, and the runtime's own requests tell more.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..Default::default() }),
        exposed_ports: (!spec.ports.is_empty()).then(|| ports::exposed(&spec.ports)),
        host_config: Some(limits(config, spec, network)),
        ..Default::default()
    }
}

fn labels(config: &DockerConfig, spec: &ContainerSpec) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = spec.labels.iter().cloned().collect();
    // Ours come last: nobody makes a container look like another one.
    labels.extend([
        (INSTALLATION.to_owned(), config.installation.clone()),
        (RUNTIME.to_owned(), spec.attempt.runtime.to_string()),
        (EPOCH.to_owned(), spec.attempt.epoch.to_string()),
        (DEPLOYMENT.to_owned(), spec.deployment.to_string()),
        (TENANT.to_owned(), spec.tenant.to_string()),
        (QUALIFIER.to_owned(), spec.qualifier.to_string()),
    ]);
    labels
}

fn limits(config: &DockerConfig, spec: &ContainerSpec, network: &str) -> HostConfig {
    let memory = i64::from(spec.memory).saturating_mul(1 << 20);
    let files = i64::from(config.open_files);
    let tmp = format!("rw,noexec,nosuid,nodev,size={}m,mode=1777", config.tmp_size);
    let log = [("max-size", "1m"), ("max-file", "2"), ("mode", "non-blocking")];
    HostConfig {
        memory: Some(memory),
        // Equal: no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(spec.cpu).saturating_mul(10_000_000)),
        pids_limit: Some(config.pids_limit.into()),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".into()),
            soft: Some(files),
            hard: Some(files),
        }]),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges:true".into()]),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        ipc_mode: Some("private".into()),
        // A machine without memory loses games before it loses the backend.
        oom_score_adj: Some(500),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(log.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }),
        network_mode: Some(network.to_owned()),
        port_bindings: (!spec.ports.is_empty()).then(|| ports::bindings(&spec.ports, config.publish_on)),
        extra_hosts: Some(vec!["host.docker.internal:host-gateway".into()]),
        ..Default::default()
    }
}
