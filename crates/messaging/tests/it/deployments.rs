//! Which clients a deployment has.

use omgservers_api::{DeploymentId, roles::Delivery};
use omgservers_messaging::{Mailbox, Messaging as _, Op};

use crate::fixture::Fixture;

#[tokio::test]
async fn the_clients_of_a_deployment_are_known_from_open_to_remove_and_after_a_crash() {
    let mut fixture = Fixture::new().await;
    let other: DeploymentId = fixture.foundation.mint.root().unwrap();
    let (one, two, stranger) =
        (fixture.client().await, fixture.client().await, fixture.foundation.mint.child(other).unwrap());
    let (user, delivery) = (fixture.user, Delivery::Durable);
    fixture.apply(vec![Op::OpenClient { client: stranger, user, deployment: other, delivery }]).await;
    fixture.apply(vec![Op::Close(Mailbox::Client(two)), Op::Remove(Mailbox::Client(one))]).await;
    for _ in 0..2 {
        let clients = |deployment| fixture.mailboxes.clients_in(deployment).into_iter().map(|it| it.0);
        assert!(clients(fixture.deployment).eq([two]), "a closed mailbox is one, a removed one isn't");
        assert!(clients(other).eq([stranger]));
        let mut both = vec![fixture.deployment, other];
        both.sort_unstable();
        assert_eq!(fixture.mailboxes.deployments(), both);
        fixture.crash().await;
    }
    // Nothing is kept of a client that comes and goes in one call.
    let fleeting = fixture.foundation.mint.child(other).unwrap();
    let open = Op::OpenClient { client: fleeting, user, deployment: other, delivery };
    let gone = |client| Op::Remove(Mailbox::Client(client));
    fixture.apply(vec![open, gone(fleeting), gone(stranger)]).await;
    assert_eq!(fixture.mailboxes.deployments(), [fixture.deployment]);
}
