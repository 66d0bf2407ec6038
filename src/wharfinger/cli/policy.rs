//! `wharfinger policy`: tells what policies decide.

mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use wharfinger_aws::Arn;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, EntityKind, EvaluationBudget, Explainer, Grammar,
    Policy, PolicyError, PolicySet, Resource as _, SimulatedContext,
};

use crate::app::App;
use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::cli::policy::report::Report;

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Tell why a user, role or access key may perform an action or not, statement by statement
    Explain(ExplainArguments),
}

#[derive(Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// What is to be explained.
#[derive(Args)]
struct Question {
    #[command(flatten)]
    caller: CallerArguments,
    /// The action, such as `ecr:PutImage`
    #[arg(long, value_name = "ACTION")]
    action: String,
    /// The ARN of the resource; of a repository, policy and tags are those that it has. Without
    /// it, the action has no resource
    #[arg(long, value_name = "ARN")]
    resource: Option<String>,
    /// A condition key's value, such as aws:SourceIp=10.0.0.1; several times for more keys, and
    /// for more values of a key
    #[arg(long, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// A file with the policy of the resource, in place of the one that it has
    #[arg(long, value_name = "FILE")]
    resource_policy: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Whose request it is.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct CallerArguments {
    /// A user by name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A role by name, as its sessions have it
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// An access key, of a user or of the root
    #[arg(long, value_name = "ID")]
    key: Option<String>,
}

pub(super) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    let PolicyCommand::Explain(ExplainArguments {
        question,
        configured,
    }) = command;
    admin::run(*configured, async move |app| explain(app, &question).await)
}

async fn explain(app: &App, question: &Question) -> anyhow::Result<()> {
    let caller = caller(app, &question.caller).await?;
    let arn = question.resource.as_deref().map(str::parse::<Arn>);
    let arn = arn.transpose().context("--resource is not an ARN")?;
    let repository = match &arn {
        Some(arn) => app.repository(arn).await?,
        None => None,
    };
    let given = question.resource_policy.as_deref();
    let given = given.map(policy_in).transpose()?;
    let stored = repository
        .as_ref()
        .and_then(|repository| repository.policy());
    let owner = arn.as_ref().and_then(Arn::account_id);
    let simulated = context(app, arn.as_ref(), &question.context)?;
    let budget = EvaluationBudget::default();
    let request = AccessRequest {
        caller: &caller,
        action: &question.action,
        resource: arn.as_ref(),
        resource_account: owner.unwrap_or(caller.account),
        context: ConditionContext {
            resource_tags: repository
                .as_ref()
                .map_or(&[], |repository| repository.tags()),
            simulated: Some(&simulated),
            ..ConditionContext::default()
        },
        budget: &budget,
    };
    let over_all = repository
        .as_ref()
        .and_then(|repository| repository.registry_policy());
    let policies = PolicySet::of(&caller, given.as_ref().or(stored)).with_registry_policy(over_all);
    let explanation = Explainer::new(policies).explain(&request);
    let report = Report::of(&request, &explanation);
    Ok(say(&if question.json {
        report.json()?
    } else {
        report.text()
    })?)
}

async fn caller(app: &App, wanted: &CallerArguments) -> anyhow::Result<Caller> {
    let account = app.iam.account();
    let (kind, name) = match (&wanted.user, &wanted.role, &wanted.key) {
        (Some(user), _, _) => (EntityKind::User, user),
        (_, Some(role), _) => (EntityKind::Role, role),
        (_, _, Some(id)) => {
            let caller = app.iam.caller_of_key(id).await?;
            let caller = caller.with_context(|| format!("there is no access key {id}"))?;
            return Ok((*caller).clone());
        }
        (None, None, None) => bail!("--user, --role or --key is needed"),
    };
    let caller = app.iam.caller_of_entity(account, kind, name).await?;
    caller.with_context(|| format!("there is no {} {name}", kind.as_str()))
}

fn policy_in(path: &Path) -> anyhow::Result<Policy> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the policy file {}", path.display()))?;
    resource_policy(&text)
        .with_context(|| format!("the policy file {} is not valid", path.display()))
}

/// Reads the policy of a resource: with the element Resource, as that of a registry, or without.
fn resource_policy(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, Grammar::Repository).or_else(|error| match error {
        PolicyError::NotAllowed { .. } => Policy::parse(text, Grammar::Registry),
        error => Err(error),
    })
}

/// The values of condition keys: those given, the time now and the region of the resource.
fn context(app: &App, arn: Option<&Arn>, given: &[String]) -> anyhow::Result<SimulatedContext> {
    let now = app.clock.now();
    let mut context = SimulatedContext::default();
    context.set("aws:CurrentTime", vec![now.to_rfc3339()]);
    let seconds = now.as_ms().div_euclid(1_000);
    context.set("aws:EpochTime", vec![seconds.to_string()]);
    let region = arn.map(Arn::region).filter(|region| !region.is_empty());
    if let Some(region) = region {
        context.set("aws:RequestedRegion", vec![region.to_owned()]);
    }
    let mut values: Vec<(&str, Vec<String>)> = Vec::new();
    for pair in given {
        let parts = pair.split_once('=');
        let (key, value) = parts.with_context(|| format!("`--context {pair}` has no `=`"))?;
        match values
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(key))
        {
            Some((_, values)) => values.push(value.to_owned()),
            None => values.push((key, vec![value.to_owned()])),
        }
    }
    for (key, values) in values {
        context.set(key, values);
    }
    Ok(context)
}
