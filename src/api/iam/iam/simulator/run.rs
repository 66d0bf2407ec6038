//! Runs a simulation: one decision for each action on each resource of a page.

use std::sync::Arc;

use wharfinger_api_core::Context;
use wharfinger_aws::xml::MapEntry;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::Page;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, Decision, Denial, Effect, EvaluationBudget,
    ExplainedPolicy, Explainer, Explanation, IdentityPolicies, NamedPolicy, Policy, PolicyKind,
    PolicySet, Principal, SimulatedContext, UserName,
};

use crate::iam::paging::PageEnd;
use crate::iam::simulator::scenario::{Case, Scenario};
use crate::iam::simulator::views::{
    BoundaryDetail, DecisionDetails, EvaluationResult, ResourceSpecificResult,
    SimulatePolicyOutput, StatementView,
};
use crate::iam::{IamService, Result, error};

/// Most actions on resources of one request: three pages of the largest size.
const MAX_CASES: usize = 3_000;
/// Steps that all decisions of one request may take with their explanations: together with reading
/// the documents and writing the response, less than 20 ms.
const MAX_STEPS: u64 = 8_000_000;
/// About how much of a response a result and a statement take, in bytes.
const RESULT_BYTES: usize = 800;
const STATEMENT_BYTES: usize = 300;
/// The same of a missing key, besides its name.
const KEY_BYTES: usize = 100;

/// What is simulated.
pub(super) struct Simulation {
    /// That of the request.
    pub(super) account: AccountId,
    pub(super) policies: Arc<IdentityPolicies>,
    pub(super) boundary: Option<NamedPolicy>,
    /// Whose request it is; `None` where nobody in particular is the caller.
    pub(super) caller: Option<Caller>,
    pub(super) resource_policy: Option<Policy>,
}

/// Decides about the cases of one page.
///
/// # Errors
/// `InvalidInput` for what cannot be simulated, or only with more work than one request may cause.
pub(super) async fn simulate(
    cx: &Context<IamService>,
    scenario: &Scenario,
    simulation: &Simulation,
) -> Result<SimulatePolicyOutput> {
    let output = results(scenario, simulation)?;
    let results = output.evaluation_results.iter();
    let statements: usize = results
        .map(|result| 2 * result.matched_statements.len())
        .sum();
    let results = output.evaluation_results.iter();
    let missing = results.flat_map(EvaluationResult::missing_keys);
    let missing: usize = missing.map(|key| KEY_BYTES + 2 * key.len()).sum();
    let results = output.evaluation_results.len() * RESULT_BYTES;
    let bytes = results + statements * STATEMENT_BYTES + missing;
    cx.charge_response(bytes).await?;
    Ok(output)
}

fn results(scenario: &Scenario, simulation: &Simulation) -> Result<SimulatePolicyOutput> {
    scenario.check()?;
    let (actions, resources) = (scenario.actions()?, scenario.resources()?);
    if actions.len().saturating_mul(resources.len()) > MAX_CASES {
        let message = format!(
            "ActionNames and ResourceArns make more than {MAX_CASES} combinations: name fewer."
        );
        return Err(error::invalid_input(message));
    }
    if simulation.caller.is_none() && simulation.resource_policy.is_some() {
        let message = "CallerArn is required where ResourcePolicy is given.";
        return Err(error::invalid_input(message));
    }
    let mut context = scenario.context()?;
    let owner = scenario.resource_owner()?;
    let caller = caller(simulation, &mut context);
    let policies = PolicySet::of(&caller, simulation.resource_policy.as_ref());
    let explainer = Explainer::new(policies);
    let budget = EvaluationBudget::of_steps(MAX_STEPS);
    let mut cases = Vec::new();
    for action in actions {
        cases.extend(resources.iter().map(|resource| Case {
            action,
            resource: resource.as_ref(),
        }));
    }
    let page = page_of(scenario, cases)?;
    let mut results = Vec::with_capacity(page.items.len());
    for case in &page.items {
        let account = case.resource.and_then(Arn::account_id).or(owner);
        let request = AccessRequest {
            caller: &caller,
            action: case.action,
            resource: case.resource,
            resource_account: account.unwrap_or(caller.account),
            context: ConditionContext {
                simulated: Some(&context),
                ..ConditionContext::default()
            },
            budget: &budget,
        };
        let explanation = explainer.explain(&request);
        check_limit(&explanation.decision, &budget)?;
        let details = decision_details(&request, &explanation);
        results.push(result(
            case,
            &explanation,
            details,
            scenario.has_resources(),
        ));
    }
    Ok(SimulatePolicyOutput {
        evaluation_results: results,
        end: PageEnd::of(LISTING, page.next.as_deref()),
    })
}

/// What markers are for.
const LISTING: &str = "Simulate";

/// The cases from after the marker on, which holds how many come before.
fn page_of<'a>(scenario: &Scenario, mut cases: Vec<Case<'a>>) -> Result<Page<Case<'a>>> {
    let after = scenario.paging.after(LISTING)?;
    let after = match after.as_deref().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(after)) if after < cases.len() => after,
        Some(_) => return Err(error::validation("Invalid Marker.")),
    };
    let limit = scenario.paging.limit();
    cases.drain(..after);
    let has_more = cases.len() > limit;
    cases.truncate(limit);
    Ok(Page {
        items: cases,
        next: has_more.then(|| (after + limit).to_string()),
    })
}

/// The caller with the policies that are simulated.
fn caller(simulation: &Simulation, context: &mut SimulatedContext) -> Caller {
    let nobody = || {
        let user = UserName {
            path: "/".to_owned(),
            name: "simulated".to_owned(),
            id: String::new(),
        };
        Caller::new(simulation.account, Principal::User(user), Arc::default())
    };
    if simulation.caller.is_none() {
        context.hide_caller();
    }
    let mut caller = simulation.caller.clone().unwrap_or_else(nobody);
    caller.policies = Arc::clone(&simulation.policies);
    caller.boundary.clone_from(&simulation.boundary);
    caller
}

/// # Errors
/// `InvalidInput` where a decision was given up.
fn check_limit(decision: &Decision, budget: &EvaluationBudget) -> Result<()> {
    let reason = match decision {
        _ if budget.is_spent() => {
            "The simulation takes too long: name fewer actions, resources or policies, or set a \
             smaller MaxItems."
        }
        Decision::Deny {
            reason: Denial::Limit(_),
        } => "A condition compares a value of ContextEntries that is longer than 2048 bytes.",
        _ => return Ok(()),
    };
    Err(error::invalid_input(reason))
}

/// What each type of policy decides; `None` where the resource is `*`.
fn decision_details(
    request: &AccessRequest<'_>,
    explanation: &Explanation,
) -> Option<DecisionDetails> {
    request.resource?;
    if request.resource_account == request.caller.account {
        return Some(DecisionDetails::default());
    }
    let kinds = [
        ("IAM Policy", PolicyKind::Identity),
        ("Resource Policy", PolicyKind::Resource),
    ];
    let entry = kinds.map(|(key, kind)| MapEntry {
        key,
        value: match explanation.effect_of(kind) {
            Some(Effect::Allow) => "allowed",
            Some(Effect::Deny) => "explicitDeny",
            None => "implicitDeny",
        },
    });
    Some(DecisionDetails {
        entry: entry.into(),
    })
}

fn result(
    case: &Case<'_>,
    explanation: &Explanation,
    details: Option<DecisionDetails>,
    has_resources: bool,
) -> EvaluationResult {
    let decision = explanation.decision.as_str();
    let name = case.resource.map_or("*", Arn::as_str).to_owned();
    let matched = matched(explanation);
    let boundary = explanation.allowed_by(PolicyKind::Boundary);
    let detail = boundary.map(|allowed| BoundaryDetail {
        allowed_by_permissions_boundary: allowed,
    });
    let missing = explanation.missing_keys.clone();
    // Where the request names resources, what is missing stands with the resource (API reference,
    // `EvaluationResult`).
    let (own_missing, specific) = if has_resources {
        let specific = ResourceSpecificResult {
            eval_resource_name: name.clone(),
            eval_resource_decision: decision,
            matched_statements: matched.clone(),
            missing_context_values: missing,
            eval_decision_details: details.clone(),
            permissions_boundary_decision_detail: detail,
        };
        (Vec::new(), vec![specific])
    } else {
        (missing, Vec::new())
    };
    EvaluationResult {
        eval_action_name: case.action.to_owned(),
        eval_resource_name: name,
        eval_decision: decision,
        eval_decision_details: details,
        matched_statements: matched,
        missing_context_values: own_missing,
        permissions_boundary_decision_detail: detail,
        resource_specific_results: specific,
    }
}

/// The statements that determine the result: those that deny where one does, those that allow where
/// the request is allowed (API reference, `MatchedStatements`).
fn matched(explanation: &Explanation) -> Vec<StatementView> {
    let effect = match explanation.decision {
        Decision::Allow { .. } => Effect::Allow,
        Decision::Deny {
            reason: Denial::ExplicitDeny(_),
        } => Effect::Deny,
        Decision::Deny { .. } => return Vec::new(),
    };
    let policies = explanation.policies.iter();
    let views = policies.flat_map(|policy| {
        let (id, kind) = source_policy(policy);
        let applying = policy.applying(effect);
        applying.map(move |statement| StatementView {
            source_policy_id: id.clone(),
            source_policy_type: kind,
            start_position: statement.start.into(),
            end_position: statement.end.into(),
        })
    });
    views.collect()
}

/// The name and the type of a policy. Managed policies are shown by name, as AWS does.
fn source_policy(policy: &ExplainedPolicy) -> (String, &'static str) {
    let name = policy.name.as_deref().unwrap_or("ResourcePolicy");
    if matches!(policy.kind, PolicyKind::Resource | PolicyKind::Registry) {
        return (name.to_owned(), "resource");
    }
    if let Some((_, path)) = name.split_once(":policy/") {
        let is_aws = name.starts_with("arn:aws:iam::aws:");
        let short = path.rsplit('/').next().unwrap_or(path);
        return (
            short.to_owned(),
            if is_aws {
                "aws-managed"
            } else {
                "user-managed"
            },
        );
    }
    let owner = policy.owner.as_deref().unwrap_or_default();
    let kinds = ["user", "group", "role"];
    let kind = kinds
        .into_iter()
        .find(|kind| owner.split('/').next() == Some(kind));
    (name.to_owned(), kind.unwrap_or("none"))
}
