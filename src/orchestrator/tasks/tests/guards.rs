//! Tasks of a service on which two servers decide at the same time.

use wharfinger_db::testing::every_engine;

use super::{World, server};
use crate::store;
use crate::store::services::tests::service;
use crate::tasks::{ServiceGuard, StartTasks};

#[tokio::test]
async fn of_two_servers_that_decided_on_the_same_version_one_starts_tasks() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let mut service = service("s", "web");
        service.cluster = world.cluster.id.clone();
        let stored = service.clone();
        world
            .write(move |tx| store::services::insert(tx, &stored))
            .await;
        let request = |version| StartTasks {
            service: Some(service.id.clone()),
            guard: Some(ServiceGuard {
                service: service.id.clone(),
                version,
            }),
            ..world.request(1)
        };
        let other = server(&world.db);
        assert_eq!(world.start(request(1)).await.tasks.len(), 1);
        let outdated = other.tasks.start(request(1)).await.expect("an outcome");
        assert_eq!((outdated.tasks, outdated.unplaced), (Vec::new(), None));
        assert_eq!(world.unfinished("a").await, 1);
        let next = other.tasks.start(request(2)).await.expect("an outcome");
        assert_eq!(next.tasks.len(), 1, "the start raised the version by one");
    }
}
