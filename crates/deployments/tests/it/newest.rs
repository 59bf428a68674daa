use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use omgservers_api::DeploymentId;
use omgservers_core::{Clock as _, existing};
use omgservers_deployments::{Deployments as _, problems};
use omgservers_fixtures::{Fixture, StagePath, support};
use tokio::task::JoinSet;

#[tokio::test]
async fn the_last_deployment_of_a_stage_is_its_newest() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let none = fixture.deployments.newest(path.stage).await.unwrap_err();
    assert!(none.is(problems::NONE));
    assert_eq!((none.kind().status(), none.qualifier()), (404, "DEPLOYMENT_NOT_FOUND"));
    let (version, of_other) =
        (fixture.deployable_version(path).await, fixture.deployable_version(other).await);
    let elsewhere = fixture.deploy(other, of_other).await.unwrap();
    for _ in 0..3 {
        // The clock stands still: the age alone must not decide.
        let id = fixture.deploy(path, version).await.unwrap();
        assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, id);
    }
    assert_eq!(fixture.deployments.newest(other.stage).await.unwrap().deployment.id, elsewhere);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_make_a_deployment_older() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let first = fixture.deploy(path, version).await.unwrap();
    fixture.foundation.clock.step_wall(TimeDelta::hours(-1));
    let second = fixture.deploy(path, version).await.unwrap();
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, second);
    let age = async |id| fixture.deployments.full(id).await.unwrap().deployment.created;
    assert_eq!(age(second).await - age(first).await, TimeDelta::microseconds(1));
    fixture.foundation.clock.advance(Duration::from_secs(7_200));
    let third = fixture.deploy(path, version).await.unwrap();
    assert_eq!(age(third).await, fixture.foundation.clock.now());
    let listed: Vec<_> =
        fixture.deployments.of_stage(path.stage).await.unwrap().iter().map(|it| it.id).collect();
    assert_eq!(listed, [first, second, third]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_deployments_at_the_same_time_exactly_one_is_the_newest() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    let version = fixture.deployable_version(StagePath { tenant, project, stage }).await;
    let deployments = Arc::new(fixture.deployments_on(fixture.foundation.test_db.pool(8).await));
    let mut deploys = JoinSet::new();
    for _ in 0..16 {
        let deployments = Arc::clone(&deployments);
        deploys.spawn(async move {
            deployments.deploy(&support(), tenant, project, stage, version, None).await.unwrap()
        });
    }
    let made: HashSet<DeploymentId> = deploys.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 16);
    let listed = fixture.deployments.of_stage(stage).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<HashSet<_>>(), made);
    let ages: HashSet<_> = listed.iter().map(|it| it.created).collect();
    assert_eq!(ages.len(), 16, "no two are of the same age");
    let newest = fixture.deployments.newest(stage).await.unwrap().deployment.id;
    assert_eq!(listed.last().unwrap().id, newest);
    let page = fixture.deployments.page(None, 100).await.unwrap();
    let marked: Vec<_> = page.iter().filter(|it| it.1).map(|it| it.0.deployment.id).collect();
    assert_eq!(marked, [newest]);
}

#[tokio::test]
async fn when_the_newest_is_deleted_the_one_before_it_takes_its_place() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let (first, second) =
        (fixture.deploy(path, version).await.unwrap(), fixture.deploy(path, version).await.unwrap());
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, second);
    assert!(fixture.deployments.delete(&support(), path.tenant, second).await.unwrap());
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, first);
    assert!(fixture.deployments.delete(&support(), path.tenant, first).await.unwrap());
    assert!(fixture.deployments.newest(path.stage).await.unwrap_err().is(problems::NONE));
}

#[tokio::test]
async fn another_process_sees_the_newest_at_once() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let other = fixture.deployments_on(fixture.foundation.db.clone());
    for _ in 0..2 {
        let id = fixture.deploy(path, version).await.unwrap();
        assert_eq!(other.newest(path.stage).await.unwrap().deployment.id, id);
    }
    let newest = other.newest(path.stage).await.unwrap().deployment.id;
    assert!(fixture.deployments.delete(&support(), path.tenant, newest).await.unwrap());
    assert_ne!(other.newest(path.stage).await.unwrap().deployment.id, newest);
}

#[tokio::test]
async fn a_deploy_enqueues_itself_and_the_one_it_supersedes_and_no_other() {
    let fixture = Fixture::new().await;
    let (path, elsewhere) = (fixture.stage().await, fixture.stage().await);
    let version = fixture.deployable_version(path).await;
    let mut deployed = Vec::new();
    fixture.deploy(elsewhere, fixture.deployable_version(elsewhere).await).await.unwrap();
    for _ in 0..3 {
        fixture.changed_deployments.take_due(9);
        deployed.push(fixture.deploy(path, version).await.unwrap());
    }
    let mut changed = fixture.changed_deployments.take_due(9);
    changed.sort_unstable();
    let mut expected = deployed[1..].to_vec();
    expected.sort_unstable();
    assert_eq!(changed, expected);
    assert!(fixture.deployments.delete(&support(), path.tenant, deployed[2]).await.unwrap());
    let changed = fixture.changed_deployments.take_due(9);
    assert!(changed.contains(&deployed[2]) && changed.contains(&deployed[1]), "its successor changes, too");
}

#[tokio::test]
async fn the_newest_is_never_retired() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let (first, second) =
        (fixture.deploy(path, version).await.unwrap(), fixture.deploy(path, version).await.unwrap());
    fixture.deployments.full(first).await.unwrap();
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    assert!(!fixture.deployments.retire(second).await.unwrap());
    assert!(fixture.changed_deployments.take_due(9).is_empty());
    assert!(fixture.deployments.retire(first).await.unwrap());
    assert!(!fixture.changed_deployments.take_due(9).is_empty());
    assert!(fixture.deployments.full(first).await.unwrap_err().is(problems::NOT_FOUND));
    assert!(!fixture.deployments.retire(first).await.unwrap(), "it isn't there any more");
    assert!(!fixture.deployments.retire(second).await.unwrap(), "the only one is the newest");
    assert_eq!(fixture.deployments.newest(path.stage).await.unwrap().deployment.id, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stage_keeps_a_deployment_however_retiring_and_deleting_meet() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let deployments = Arc::new(fixture.deployments_on(fixture.foundation.test_db.pool(4).await));
    for _ in 0..10 {
        let (old, new) =
            (fixture.deploy(path, version).await.unwrap(), fixture.deploy(path, version).await.unwrap());
        let (one, two) = (Arc::clone(&deployments), Arc::clone(&deployments));
        let retired = tokio::spawn(async move { one.retire(old).await.unwrap() });
        let deleted = tokio::spawn(async move { two.delete(&support(), path.tenant, new).await.unwrap() });
        let (retired, deleted) = (retired.await.unwrap(), deleted.await.unwrap());
        assert!(deleted);
        // Retired means that it wasn't the newest yet; not retired, that it became the newest.
        assert_eq!(existing(&deployments.exist(&[old]).await.unwrap()).contains(&old), !retired);
        for left in fixture.deployments.of_stage(path.stage).await.unwrap() {
            assert!(fixture.deployments.delete(&support(), path.tenant, left.id).await.unwrap());
        }
    }
}

#[tokio::test]
async fn all_deployments_are_read_page_by_page_with_the_newest_marked() {
    let fixture = Fixture::new().await;
    let paths = [fixture.stage().await, fixture.stage().await];
    let (mut made, mut newest) = (HashSet::new(), HashSet::new());
    for path in paths {
        let version = fixture.deployable_version(path).await;
        for index in 0..3 {
            let id = fixture.deploy(path, version).await.unwrap();
            made.insert(id);
            if index == 2 {
                newest.insert(id);
            }
        }
    }
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.deployments.page(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.deployment.id);
        read.extend(page);
    }
    assert!(read.is_sorted_by_key(|it| it.0.deployment.id));
    assert_eq!(read.iter().map(|it| it.0.deployment.id).collect::<HashSet<_>>(), made);
    assert_eq!(read.len(), made.len(), "none twice");
    let marked: HashSet<_> = read.iter().filter(|it| it.1).map(|it| it.0.deployment.id).collect();
    assert_eq!(marked, newest);
}
