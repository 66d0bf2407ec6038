//! Which jobs a worker takes, with jobs that are only counted.

use std::sync::Arc;
use std::thread;

use super::*;
use crate::engine::Tx;

/// A job that knows its name only.
struct Named(Kind);

impl Job for Named {
    fn kind(&self) -> Kind {
        self.0
    }

    fn abandoned(&self) -> bool {
        false
    }

    fn run(&mut self, _tx: &mut Tx<'_>) -> bool {
        true
    }

    fn send_result(self: Box<Self>, _fate: Result<()>) {}
}

async fn push(queue: &JobQueue, kind: Kind, count: usize) {
    for _ in 0..count {
        queue.push(Box::new(Named(kind))).await.expect("space");
    }
}

fn points(work: Option<Work<'_>>) -> (VecDeque<Box<dyn Job>>, Turn<'_>) {
    match work {
        Some(Work::Points(jobs, turn)) => (jobs, turn),
        Some(Work::Single(_)) => panic!("a scan or write"),
        None => panic!("nothing"),
    }
}

fn single(work: Option<Work<'_>>) -> Kind {
    match work {
        Some(Work::Single(job)) => job.kind(),
        Some(Work::Points(..)) => panic!("point reads"),
        None => panic!("nothing"),
    }
}

fn wait_for_idle(queue: &JobQueue, count: usize) {
    while queue.lock().idle < count {
        thread::yield_now();
    }
}

#[tokio::test]
async fn a_write_waits_for_one_batch_at_most_and_point_reads_for_one_write() {
    let queue = JobQueue::new(1);
    push(&queue, Kind::Points, 3 * BATCH_JOBS).await;
    push(&queue, Kind::Write, 2).await;
    let (jobs, turn) = points(queue.try_take(Finished::Nothing));
    assert_eq!(jobs.len(), BATCH_JOBS);
    assert_eq!(single(queue.try_take(Finished::Points(turn))), Kind::Write);
    let (jobs, turn) = points(queue.try_take(Finished::Single));
    assert_eq!(jobs.len(), BATCH_JOBS);
    assert_eq!(single(queue.try_take(Finished::Points(turn))), Kind::Write);
    let (jobs, turn) = points(queue.try_take(Finished::Single));
    assert_eq!(jobs.len(), BATCH_JOBS);
    assert!(queue.try_take(Finished::Points(turn)).is_none());
}

#[tokio::test]
async fn a_connection_is_left_to_point_reads() {
    let queue = JobQueue::new(3);
    push(&queue, Kind::Scan, 2).await;
    push(&queue, Kind::Write, 1).await;
    assert_eq!(single(queue.try_take(Finished::Nothing)), Kind::Scan);
    assert_eq!(single(queue.try_take(Finished::Nothing)), Kind::Scan);
    assert!(queue.try_take(Finished::Nothing).is_none());
    push(&queue, Kind::Points, 1).await;
    let (jobs, turn) = points(queue.try_take(Finished::Nothing));
    assert_eq!(jobs.len(), 1);
    assert!(queue.try_take(Finished::Points(turn)).is_none());
    assert_eq!(single(queue.try_take(Finished::Single)), Kind::Write);
}

#[tokio::test]
async fn point_reads_that_arrive_during_a_turn_wait_for_its_end() {
    let queue = JobQueue::new(2);
    push(&queue, Kind::Points, 1).await;
    let (_, mut turn) = points(queue.try_take(Finished::Nothing));
    push(&queue, Kind::Points, 3).await;
    turn.end();
    let (jobs, _turn) = points(queue.try_take(Finished::Nothing));
    assert_eq!(jobs.len(), 3);
}

#[tokio::test]
async fn a_turn_that_hangs_is_taken_over() {
    let queue = JobQueue::new(2);
    push(&queue, Kind::Points, 1).await;
    let (_, hanging) = points(queue.try_take(Finished::Nothing));
    push(&queue, Kind::Points, 2).await;
    let (jobs, turn) = points(queue.take());
    assert_eq!(jobs.len(), 2);
    // Its late end is not that of the turn which replaced it.
    push(&queue, Kind::Points, 1).await;
    queue.lock().turn = Some((turn.number, Instant::now()));
    let mut hanging = hanging;
    hanging.end();
    assert!(queue.lock().turn.is_some());
}

#[tokio::test]
async fn jobs_of_a_slow_batch_go_to_idle_workers() {
    let queue = Arc::new(JobQueue::new(3));
    push(&queue, Kind::Points, 9).await;
    let (mut jobs, mut turn) = points(queue.try_take(Finished::Nothing));
    queue.share(&mut jobs);
    assert_eq!(jobs.len(), 9, "nobody is idle");
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let (mut jobs, mut turn) = points(queue.take());
                turn.end();
                queue.share(&mut jobs);
                jobs.len()
            })
        })
        .collect();
    wait_for_idle(&queue, 2);
    turn.end();
    queue.share(&mut jobs);
    assert_eq!(jobs.len(), 3);
    let taken = takers.into_iter().map(|taker| taker.join().expect("takes"));
    assert_eq!(taken.sum::<usize>(), 6);
}

#[tokio::test]
async fn jobs_that_are_put_back_come_first_and_take_no_space() {
    let queue = JobQueue::new(1);
    push(&queue, Kind::Points, QUEUE).await;
    assert_eq!(queue.space.available_permits(), 0);
    let mut finished = Finished::Nothing;
    for _ in 0..5 {
        let (jobs, turn) = points(queue.try_take(finished));
        queue.give_back(jobs);
        finished = Finished::Points(turn);
    }
    assert_eq!(queue.space.available_permits(), BATCH_JOBS);
    let mut taken = 0;
    while let Some(Work::Points(jobs, turn)) = queue.try_take(finished) {
        taken += jobs.len();
        finished = Finished::Points(turn);
    }
    assert_eq!(taken, QUEUE);
    assert_eq!(queue.space.available_permits(), QUEUE);
}

#[tokio::test]
async fn workers_end_when_the_queue_is_closed_and_empty() {
    let queue = Arc::new(JobQueue::new(2));
    push(&queue, Kind::Write, 2).await;
    assert_eq!(single(queue.try_take(Finished::Nothing)), Kind::Write);
    let idle = thread::spawn({
        let queue = Arc::clone(&queue);
        move || queue.take().is_none()
    });
    wait_for_idle(&queue, 1);
    queue.close();
    let refused = queue.push(Box::new(Named(Kind::Points))).await;
    assert_eq!(refused, Err(closed()));
    assert_eq!(single(queue.try_take(Finished::Single)), Kind::Write);
    assert!(queue.try_take(Finished::Single).is_none());
    assert!(queue.take().is_none());
    assert!(idle.join().expect("ends"));
}
