//! The responses of a simulation.

use serde::Serialize;
use wharfinger_aws::xml::MapEntry;
use wharfinger_iam::TextPosition;

use crate::iam::paging::PageEnd;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::iam) struct SimulatePolicyOutput {
    pub(super) evaluation_results: Vec<EvaluationResult>,
    #[serde(flatten)]
    pub(super) end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EvaluationResult {
    pub(super) eval_action_name: String,
    pub(super) eval_resource_name: String,
    pub(super) eval_decision: &'static str,
    pub(super) eval_decision_details: Option<DecisionDetails>,
    pub(super) matched_statements: Vec<StatementView>,
    pub(super) missing_context_values: Vec<String>,
    pub(super) permissions_boundary_decision_detail: Option<BoundaryDetail>,
    pub(super) resource_specific_results: Vec<ResourceSpecificResult>,
}

impl EvaluationResult {
    /// The condition keys that it names, each time that it does.
    pub(super) fn missing_keys(&self) -> impl Iterator<Item = &String> {
        let specific = self.resource_specific_results.iter();
        let specific = specific.flat_map(|one| &one.missing_context_values);
        self.missing_context_values.iter().chain(specific)
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResourceSpecificResult {
    pub(super) eval_resource_name: String,
    pub(super) eval_resource_decision: &'static str,
    pub(super) matched_statements: Vec<StatementView>,
    pub(super) missing_context_values: Vec<String>,
    pub(super) eval_decision_details: Option<DecisionDetails>,
    pub(super) permissions_boundary_decision_detail: Option<BoundaryDetail>,
}

/// What the policies of each type decide about a request to another account. It is empty for
/// requests within the account (API reference, `EvaluationResult`).
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct DecisionDetails {
    pub(super) entry: Vec<MapEntry<&'static str, &'static str>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BoundaryDetail {
    pub(super) allowed_by_permissions_boundary: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatementView {
    pub(super) source_policy_id: String,
    pub(super) source_policy_type: &'static str,
    pub(super) start_position: Position,
    pub(super) end_position: Position,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Position {
    line: usize,
    column: usize,
}

impl From<TextPosition> for Position {
    fn from(position: TextPosition) -> Self {
        Self {
            line: position.line,
            column: position.column,
        }
    }
}
