//! Measures looks at a service with many running tasks: one with nothing to do, and one after a
//! single task has changed.
//!
//! `cargo bench --package wharfinger-orchestrator --bench services`; `TASKS=50000` is the default.

use std::io::Write as _;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::Db;
use wharfinger_orchestrator::model::{
    AccountRegion, Cluster, ClusterDetails, ClusterName, Resource, TaskDefinitionDocument, TaskId,
};
use wharfinger_orchestrator::{
    AgentSession, MIGRATIONS, NewService, Orchestrator, Protection, Registration, ReportedStatus,
    Reporter, ServiceReconciler, ServiceSettings, TaskReport,
};
use wharfinger_reconcile::Reconciler as _;

const TASKS: usize = 50_000;
const TASKS_OF_INSTANCE: usize = 100;
const DOCUMENT: &str = r#"{"containerDefinitions":
    [{"name": "app", "image": "app", "cpu": 10, "memory": 10}]}"#;
/// Other load on the machine disturbs some rounds, but not the fastest one.
const ROUNDS: usize = 5;

/// One service on as many instances as its tasks need.
struct World {
    clock: Clock,
    orchestrator: Orchestrator,
    cluster: Cluster,
    sessions: Vec<AgentSession>,
    services: ServiceReconciler,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tasks = std::env::var("TASKS").ok();
    let tasks = tasks.map_or(Ok(TASKS), |text| text.parse::<usize>())?;
    let mut out = std::io::stdout().lock();
    let mut world = World::with_instances(tasks.div_ceil(TASKS_OF_INSTANCE)).await?;
    world.create(i64::try_from(tasks)?).await?;
    writeln!(out, "{tasks} tasks started: {:?}", world.settle().await?)?;
    let running = world.run_all().await?;
    writeln!(
        out,
        "steady after their reports: {:?}",
        world.settle().await?
    )?;
    let (mut idle, mut changed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        world
            .orchestrator
            .tasks
            .protect(&world.cluster.id, &running[..1], Protection::On(None))
            .await?;
        changed.push(world.look().await?);
        idle.push(world.look().await?);
        world
            .orchestrator
            .tasks
            .protect(&world.cluster.id, &running[..1], Protection::Off)
            .await?;
        changed.push(world.look().await?);
    }
    writeln!(out, "a look with nothing to do: {:?}", idle.iter().min())?;
    writeln!(
        out,
        "a look after a task has changed: {:?}",
        changed.iter().min()
    )?;
    Ok(())
}

impl World {
    async fn with_instances(count: usize) -> anyhow::Result<Self> {
        let (db, clock) = (
            Db::memory(MIGRATIONS)?,
            Clock::manual(Timestamp::from_ms(0)),
        );
        let settings = ServiceSettings {
            healthy_after: Duration::ZERO,
        };
        let orchestrator = Orchestrator::new(&db, &clock, &Ids::default()).with_services(settings);
        let name = ClusterName {
            home: AccountRegion {
                account: "123456789012".parse()?,
                region: "us-east-1".parse()?,
            },
            name: "c".to_owned(),
        };
        let clusters = &orchestrator.clusters;
        let cluster = clusters.create(&name, ClusterDetails::default()).await?;
        let resource = |name: &str| Resource {
            name: Some(name.to_owned()),
            kind: Some("INTEGER".to_owned()),
            integer_value: Some(1_000),
            ..Resource::default()
        };
        let mut sessions = Vec::new();
        for _ in 0..count {
            let request = Registration {
                total_resources: vec![resource("CPU"), resource("MEMORY")],
                ..Registration::default()
            };
            let registered = orchestrator
                .instances
                .register(&cluster, None, None, request);
            let id = registered.await?.instance.id;
            sessions.extend(orchestrator.assignments.connect(&id).await?);
        }
        let services = orchestrator.service_reconciler();
        Ok(Self {
            clock,
            orchestrator,
            cluster,
            sessions,
            services,
        })
    }

    async fn create(&self, desired: i64) -> anyhow::Result<()> {
        let document: TaskDefinitionDocument = serde_json::from_str(DOCUMENT)?;
        let definitions = &self.orchestrator.task_definitions;
        let home = &self.cluster.name.home;
        let definition = definitions.register(home, "app", document, "me", Vec::new());
        let new = NewService {
            name: "app".to_owned(),
            desired_count: Some(desired),
            created_by: "me".to_owned(),
            ..NewService::default()
        };
        let services = &self.orchestrator.services;
        services
            .create(&self.cluster, &definition.await?, new)
            .await?;
        Ok(())
    }

    /// Reports all tasks as running.
    async fn run_all(&self) -> anyhow::Result<Vec<TaskId>> {
        let assignments = &self.orchestrator.assignments;
        let mut all = Vec::new();
        for session in &self.sessions {
            let mut reports = JoinSet::new();
            for task in assignments.manifest(session.instance()).await? {
                all.push(task.id.clone());
                let (assignments, cluster) = (assignments.clone(), self.cluster.clone());
                let instance = session.instance().clone();
                reports.spawn(async move {
                    let report = TaskReport {
                        status: Some(ReportedStatus::Running),
                        ..TaskReport::default()
                    };
                    let reporter = Reporter::Instance(&instance);
                    assignments
                        .report(&cluster, &task.id, reporter, report)
                        .await
                });
            }
            while let Some(reported) = reports.join_next().await {
                reported??;
            }
        }
        Ok(all)
    }

    /// Passes until there is nothing more to do.
    async fn settle(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while self.services.pass(self.clock.now()).await?.again {}
        Ok(begun.elapsed())
    }

    /// A pass that looks at the service.
    async fn look(&mut self) -> anyhow::Result<Duration> {
        // The period after which every service is looked at.
        self.clock.advance(Duration::from_secs(10));
        let begun = Instant::now();
        let pass = self.services.pass(self.clock.now()).await?;
        anyhow::ensure!((pass.seen, pass.done) == (1, 0), "{pass:?}");
        Ok(begun.elapsed())
    }
}
