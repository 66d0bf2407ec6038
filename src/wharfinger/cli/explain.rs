//! `wharfinger explain`: tells what the orchestrator decides.

mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use wharfinger_orchestrator::model::{
    AccountRegion, CapacityProviderStrategyItem, LaunchType, PlacementConstraint,
    PlacementConstraintType, PlacementStrategy, TaskOverride,
};
use wharfinger_orchestrator::{Launch, Placement, StartTasks, check_launch_type, check_placement};

use crate::app::App;
use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::explain::table::Table;
use crate::cli::output::say;

/// Most tasks whose instances are shown.
const MAX_COUNT: usize = 1000;

#[derive(Subcommand)]
pub(super) enum ExplainCommand {
    /// Tell for each container instance why a task could not be placed there, and where it would be
    Placement(PlacementArguments),
}

#[derive(Args)]
pub(super) struct PlacementArguments {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// Which tasks are to be placed.
#[derive(Args)]
struct Question {
    /// The cluster, by name or ARN
    #[arg(long, value_name = "NAME", default_value = "default")]
    cluster: String,
    /// The task definition: a family, a family with a revision, or an ARN
    #[arg(long, value_name = "NAME")]
    task_definition: String,
    /// How many tasks
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    count: usize,
    /// EC2, FARGATE or EXTERNAL; by default what the cluster has as its default
    #[arg(long, value_name = "TYPE")]
    launch_type: Option<String>,
    /// A capacity provider, in place of a launch type
    #[arg(long, value_name = "NAME", conflicts_with = "launch_type")]
    capacity_provider: Option<String>,
    /// The group of the tasks, such as service:web
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// An expression that instances must meet; several times for more
    #[arg(long, value_name = "EXPRESSION")]
    member_of: Vec<String>,
    /// No two tasks of the group on one instance
    #[arg(long)]
    distinct_instance: bool,
    /// A placement strategy, such as spread:attribute:ecs.availability-zone, binpack:memory or
    /// random; several times for more, in their order
    #[arg(long, value_name = "TYPE[:FIELD]")]
    strategy: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: ExplainCommand) -> anyhow::Result<ExitCode> {
    let ExplainCommand::Placement(PlacementArguments {
        question,
        configured,
    }) = command;
    admin::run(*configured, async move |app| explain(app, &question).await)
}

async fn explain(app: &App, question: &Question) -> anyhow::Result<()> {
    let request = request(app, question).await?;
    let explained = app.orchestrator.tasks.explain(request).await?;
    let table = Table::of(&explained);
    Ok(say(&if question.json {
        table.json()?
    } else {
        table.text()
    })?)
}

async fn request(app: &App, question: &Question) -> anyhow::Result<StartTasks> {
    let home = AccountRegion {
        account: app.iam.account(),
        region: app.config.names.region.clone(),
    };
    if !(1..=MAX_COUNT).contains(&question.count) {
        bail!("--count must be from 1 to {MAX_COUNT}");
    }
    let clusters = &app.orchestrator.clusters;
    let cluster = clusters.find(&home, Some(&question.cluster)).await?;
    let definitions = &app.orchestrator.task_definitions;
    let definition = definitions
        .resolve(&home, &question.task_definition)
        .await?;
    let launch_type = question
        .launch_type
        .as_deref()
        .map(str::parse::<LaunchType>);
    let launch_type = launch_type.transpose().context("--launch-type")?;
    let provider = question.capacity_provider.iter();
    let providers: Vec<_> = provider
        .map(|name| CapacityProviderStrategyItem {
            capacity_provider: name.clone(),
            weight: Some(1),
            base: None,
        })
        .collect();
    let launch = Launch::of(&cluster.details, launch_type, &providers)?;
    check_launch_type(&definition, launch.launch_type())?;
    let constraints = constraints(question);
    let strategies = question.strategy.iter().map(|text| strategy(text));
    let strategy = strategies.collect::<anyhow::Result<Vec<_>>>()?;
    check_placement(launch.launch_type(), &constraints, &strategy)?;
    Ok(StartTasks {
        cluster,
        definition,
        placement: Placement::Chosen(question.count),
        launch,
        group: question.group.clone(),
        service: None,
        deployment: None,
        guard: None,
        image_digests: BTreeMap::new(),
        started_by: None,
        overrides: TaskOverride::default(),
        constraints,
        strategy,
        platform_version: None,
        network_configuration: None,
        enable_execute_command: false,
        tags: Vec::new(),
        token: None,
    })
}

fn constraints(question: &Question) -> Vec<PlacementConstraint> {
    let member_of = question.member_of.iter().map(|text| PlacementConstraint {
        kind: Some(PlacementConstraintType::MemberOf),
        expression: Some(text.clone()),
    });
    let distinct = question.distinct_instance.then_some(PlacementConstraint {
        kind: Some(PlacementConstraintType::DistinctInstance),
        expression: None,
    });
    member_of.chain(distinct).collect()
}

fn strategy(text: &str) -> anyhow::Result<PlacementStrategy> {
    let (kind, field) = match text.split_once(':') {
        Some((kind, field)) => (kind, Some(field.to_owned())),
        None => (text, None),
    };
    let kind = kind.parse();
    let kind = kind.with_context(|| format!("`--strategy {text}` has no known type"))?;
    Ok(PlacementStrategy {
        kind: Some(kind),
        field,
    })
}
