//! Backfills: what a registry has already arrives, and a stop comes to an end.

use super::*;
use crate::replication::model::{Backfill, BackfillStatus};

const BACKFILLS: &str = "SELECT COUNT(*) FROM replication_backfills";
const RESULTS: &str = "SELECT COUNT(*) FROM image_replications WHERE backfill <> ''";

impl World {
    async fn backfill(&self, destination: &RegistryId) -> Result<Backfill, Error> {
        let replications = &self.registry().replications;
        replications.start_backfill(&home(), destination).await
    }

    async fn found(&self, backfill: &Backfill) -> Backfill {
        let replications = &self.registry().replications;
        let id = backfill.id.to_string();
        replications.backfill(&home(), &id).await.expect("found")
    }

    async fn results(&self, backfill: &Backfill, filter: ResultFilter) -> Vec<BackfillResult> {
        let replications = &self.registry().replications;
        let (mut results, mut after) = (Vec::new(), ResultPosition::default());
        loop {
            let page = replications
                .backfill_results(backfill, filter, after, 2)
                .await;
            let page = page.expect("a page");
            assert!(page.items.len() <= 2);
            results.extend(page.items);
            match page.next {
                Some(next) => after = next,
                None => return results,
            }
        }
    }
}

#[tokio::test]
async fn images_from_before_the_configuration_arrive_and_each_tag_counts() {
    for mut world in worlds(&[], None).await {
        let [one, two, three] = [
            world.image(&[b"a"], &["v1", "v2"]).await,
            world.image(&[b"b"], &[]).await,
            world.image(&[b"c"], &["v3"]).await,
        ];
        let missing = world.backfill(&away()).await;
        assert!(matches!(
            missing,
            Err(Error::NoReplicationDestination { .. })
        ));
        world.configure(&home(), &rules(&[away()], None)).await;
        let begun = world.backfill(&away()).await.expect("begun");
        assert_eq!(
            (begun.status, &begun.progress),
            (BackfillStatus::Preparing, &None)
        );
        let second = world.backfill(&away()).await;
        assert!(matches!(second, Err(Error::BackfillInProgress { .. })));
        // One image is lost meanwhile.
        let content = world.registry().content.clone();
        content
            .unlink(world.source.id, &digest(b"c"))
            .await
            .expect("unlinked");
        for _ in 0..20 {
            world.replicate().await;
            world.server.clock.advance(Duration::from_hours(2));
        }
        let ended = world.found(&begun).await;
        assert_eq!(ended.status, BackfillStatus::Complete);
        assert!(ended.ended_at.is_some());
        let progress = ended.progress.clone().expect("the numbers");
        assert_eq!(
            (progress.total, progress.completed, progress.failed),
            (4, 3, 1)
        );
        assert_eq!(progress.failure_codes, ["LayersNotFound"]);
        for text in ["v1", "v2"] {
            assert_eq!(world.tagged(&away(), text).await, Some(one));
        }
        assert!(world.has(&away(), two).await && !world.has(&away(), three).await);
        assert_eq!(world.statuses(one).await, [COMPLETE]);

        let all = world.results(&ended, ResultFilter::Any).await;
        assert_eq!(all.len(), 4);
        let failed = world.results(&ended, ResultFilter::Failed).await;
        assert_eq!(failed.len(), 1);
        assert_eq!(
            (failed[0].digest, &failed[0].tag),
            (three, &Some(tag("v3")))
        );
        assert_eq!(failed[0].failure_code.as_deref(), Some("LayersNotFound"));
        assert_eq!(world.results(&ended, ResultFilter::Complete).await.len(), 3);

        // It is shown for 90 days.
        let page = world
            .registry()
            .replications
            .backfills(&home(), None, 1)
            .await;
        let page = page.expect("a page");
        assert_eq!((page.items, page.next), (vec![ended.clone()], None));
        world.server.clock.advance(Duration::from_hours(24 * 91));
        world.replicate().await;
        assert_eq!(world.count(BACKFILLS).await, 0);
        assert_eq!(world.count(RESULTS).await, 0);
        let id = ended.id.to_string();
        let gone = world.registry().replications.backfill(&home(), &id).await;
        assert!(matches!(gone, Err(Error::NoSuchBackfill { .. })));
    }
}

#[tokio::test]
async fn a_backfill_that_is_stopped_ends_and_copies_nothing_more() {
    for mut world in worlds(&[away()], None).await {
        let replications = world.registry().replications.clone();
        let stop = async |backfill: &Backfill| {
            let id = backfill.id.to_string();
            replications.stop_backfill(&home(), &id).await
        };
        // Before it has listed anything.
        let begun = world.backfill(&away()).await.expect("begun");
        let stopped = stop(&begun).await.expect("stopped");
        assert_eq!(stopped.status, BackfillStatus::Stopped);
        let again = stop(&begun).await;
        assert!(matches!(again, Err(Error::BackfillNotRunning { .. })));

        // With one image in somebody's hands, and others that wait.
        for number in 0..9_u8 {
            world.image(&[&[number]], &[]).await;
        }
        world.replicate().await;
        let repository = world.at(&away()).await.expect("the repository");
        let repositories = world.registry().repositories.clone();
        repositories
            .delete(&repository, true)
            .await
            .expect("deleted");
        let begun = world.backfill(&away()).await.expect("begun");
        let now = world.server.clock.now();
        let list = move |tx: &mut wharfinger_db::Tx<'_>| backfill::step(tx, now);
        while world.found(&begun).await.status == BackfillStatus::Preparing {
            world.server.db.write(list).await.expect("a step");
        }
        let to = away();
        let claimed = world.server.db.write(move |tx| {
            let until = now.plus(Duration::from_mins(3));
            Ok::<_, Error>(crate::store::replication::claim(tx, &to, now, until, 1)?)
        });
        let claimed = claimed.await.expect("claimed").remove(0);
        let stopped = stop(&begun).await.expect("stopped");
        assert_eq!(stopped.status, BackfillStatus::Stopping);
        world.replicate().await;
        assert_eq!(world.found(&begun).await.status, BackfillStatus::Stopping);
        let finished = world.server.db.write(move |tx| {
            let done = decide::Outcome::Done.into();
            finish::finish(tx, &claimed, &done, now).map(drop)
        });
        finished.await.expect("finished");
        world.server.clock.advance(Duration::from_secs(2));
        world.replicate().await;
        let ended = world.found(&begun).await;
        assert_eq!(ended.status, BackfillStatus::Stopped);
        let progress = ended.progress.clone().expect("the numbers");
        assert_eq!((progress.total, progress.completed), (9, 1));
        assert_eq!(world.results(&ended, ResultFilter::Any).await.len(), 1);
        assert!(world.at(&away()).await.is_none(), "nothing more was copied");
    }
}

#[tokio::test]
async fn a_step_queues_one_image_where_its_time_is_over() {
    for world in worlds(&[away()], None).await {
        for number in 0..4_u8 {
            world.image(&[&[number]], &["v1", "v2"]).await;
        }
        let begun = world.backfill(&away()).await.expect("begun");
        let now = world.server.clock.now();
        let mut queued = Vec::new();
        while world.found(&begun).await.status == BackfillStatus::Preparing {
            let step =
                move |tx: &mut wharfinger_db::Tx<'_>| backfill::step_of(tx, now, Duration::ZERO);
            assert!(world.server.db.write(step).await.expect("a step"));
            queued.push(world.count(RESULTS).await);
        }
        queued.dedup();
        // Three of the images, and one that has both tags.
        let mut sizes: Vec<i64> = queued.windows(2).map(|two| two[1] - two[0]).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 2], "{queued:?}");
    }
}

#[tokio::test]
async fn the_results_of_the_last_ten_backfills_are_kept() {
    for mut world in worlds(&[away()], None).await {
        world.image(&[b"a"], &["v1", "v2"]).await;
        world.replicate().await;
        let mut begun = Vec::new();
        for _ in 0..13 {
            world.server.clock.advance(Duration::from_secs(1));
            begun.push(world.backfill(&away()).await.expect("begun"));
            world.replicate().await;
            let last = &begun[begun.len() - 1];
            assert_eq!(world.found(last).await.status, BackfillStatus::Complete);
        }
        assert_eq!(
            world.count(BACKFILLS).await,
            11,
            "ten, and the one begun last"
        );
        assert_eq!(world.count(RESULTS).await, 22);
        let replications = world.registry().replications.clone();
        for gone in &begun[..2] {
            let found = replications.backfill(&home(), &gone.id.to_string()).await;
            assert!(matches!(found, Err(Error::NoSuchBackfill { .. })));
        }
        for kept in &begun[2..] {
            let kept = world.found(kept).await;
            assert_eq!(world.results(&kept, ResultFilter::Any).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn ten_backfills_are_under_way_at_most_and_one_without_its_destination_fails() {
    let regions: Vec<RegistryId> = (0..11)
        .map(|number| registry(ACCOUNT, &format!("eu-west-{number}")))
        .collect();
    for mut world in worlds(&regions, None).await {
        world.image(&[b"a"], &["v1"]).await;
        for region in &regions[..10] {
            world.backfill(region).await.expect("begun");
        }
        let eleventh = world.backfill(&regions[10]).await;
        assert!(matches!(
            eleventh,
            Err(Error::QuotaReached { limit: 10, .. })
        ));
        world.configure(&home(), &rules(&regions[..9], None)).await;
        world.replicate().await;
        let page = world
            .registry()
            .replications
            .backfills(&home(), None, 20)
            .await;
        let page = page.expect("a page").items;
        let failed = page
            .iter()
            .filter(|one| one.status == BackfillStatus::Failed);
        let failed: Vec<_> = failed.collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].destination, regions[9]);
        assert_eq!(
            failed[0].failure_code.as_deref(),
            Some("DestinationNotConfigured")
        );
        let complete = page
            .iter()
            .filter(|one| one.status == BackfillStatus::Complete);
        assert_eq!(complete.count(), 9);
    }
}
