//! The proxy in front of a real PostgreSQL, and the cluster that is stopped and killed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must fail at once")]

use std::time::{Duration, Instant};

use omgservers_torture::{
    cluster::Cluster,
    proxy::{Proxy, Trap},
};
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls};

async fn connect(proxy: &Proxy) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&Cluster::url_at(proxy.address()), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Inserts a row in a transaction, as the server's writer does: all of it under way before the
/// first answer.
async fn insert(client: &Client, number: i32) -> Result<(), tokio_postgres::Error> {
    let statement = client.prepare("insert into it values ($1)").await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&number];
    let (begun, inserted, committed) = tokio::join!(
        client.batch_execute("begin"),
        client.execute(&statement, &parameters),
        client.batch_execute("commit")
    );
    begun?;
    inserted?;
    committed
}

async fn rows(cluster: &Cluster) -> Vec<String> {
    let rows = cluster.sql().query("select number from it order by number").await.unwrap();
    rows.into_iter().map(|it| it.concat()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_break_a_connection_at_their_points_and_a_killed_cluster_keeps_what_was_committed() {
    let mut cluster = Cluster::make().await.unwrap();
    let proxy = Proxy::start(&cluster.socket()).await.unwrap();
    let control = proxy.control();
    let client = connect(&proxy).await;
    client.batch_execute("create table it (number int primary key)").await.unwrap();
    insert(&client, 1).await.unwrap();

    // Lost before it was passed: nothing is there.
    control.set(Trap::Commit, 1);
    insert(&client, 2).await.unwrap_err();
    assert_eq!((rows(&cluster).await, control.armed(), control.sprung()), (vec!["1".into()], 0, 1));
    // Lost afterwards: it is there, and nobody knows.
    let client = connect(&proxy).await;
    control.set(Trap::CommitAnswer, 1);
    insert(&client, 3).await.unwrap_err();
    assert_eq!(rows(&cluster).await, ["1", "3"]);
    // By half.
    let client = connect(&proxy).await;
    control.set(Trap::Statement, 1);
    insert(&client, 4).await.unwrap_err();
    assert_eq!(rows(&cluster).await, ["1", "3"]);
    // All connections.
    let client = connect(&proxy).await;
    control.cut();
    insert(&client, 5).await.unwrap_err();
    // Late, but together: a transaction takes its own time and three times as long.
    let client = connect(&proxy).await;
    control.delay(Duration::from_millis(100));
    let begun = Instant::now();
    insert(&client, 6).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(2), "{took:?}");
    control.delay(Duration::ZERO);

    assert!(!cluster.sessions().is_empty(), "ours is served");
    cluster.end(Signal::KILL).unwrap();
    insert(&client, 7).await.unwrap_err();
    cluster.start().await.unwrap();
    assert_eq!(rows(&cluster).await, ["1", "3", "6"]);
    insert(&connect(&proxy).await, 8).await.unwrap();
}
