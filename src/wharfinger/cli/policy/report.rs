//! An explanation as text and as JSON. PURE.

use std::fmt::Write as _;

use serde::Serialize;
use wharfinger_iam::{
    AccessRequest, Applicability, Effect, ExplainedPolicy, ExplainedStatement, Explanation,
    MatchedStatement, PolicyKind, TextPosition,
};

/// What a request may do, and why.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    decision: &'static str,
    message: String,
    caller: String,
    action: String,
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<Decider>,
    policies: Vec<PolicyReport>,
    missing_context_values: Vec<String>,
}

/// The statement that decided.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decider {
    policy_type: &'static str,
    policy: Option<String>,
    policy_owner: Option<String>,
    statement: usize,
    sid: Option<String>,
}

#[derive(Serialize)]
struct PolicyReport {
    r#type: &'static str,
    name: Option<String>,
    owner: Option<String>,
    statements: Vec<StatementReport>,
}

#[derive(Serialize)]
struct StatementReport {
    index: usize,
    sid: Option<String>,
    effect: &'static str,
    line: usize,
    applies: bool,
    why: String,
    start: Place,
    end: Place,
}

#[derive(Serialize)]
struct Place {
    line: usize,
    column: usize,
}

impl Report {
    pub(super) fn of(request: &AccessRequest<'_>, explanation: &Explanation) -> Self {
        let decision = &explanation.decision;
        Self {
            decision: decision.as_str(),
            message: decision.message(request),
            caller: request.caller.display().to_owned(),
            action: request.action.to_owned(),
            resource: request.resource.map(ToString::to_string),
            decided_by: decision.statement().map(Decider::of),
            policies: explanation.policies.iter().map(PolicyReport::of).collect(),
            missing_context_values: explanation.missing_keys.clone(),
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.decision, self.message);
        // Writing into a string does not fail.
        if let Some(decider) = &self.decided_by {
            let _ = writeln!(text, "Decided by {}", decider.text());
        }
        for policy in &self.policies {
            let _ = writeln!(text, "\n{}", policy.title());
            for statement in &policy.statements {
                let _ = writeln!(text, "  {}", statement.text());
            }
        }
        if !self.missing_context_values.is_empty() {
            let keys = self.missing_context_values.join(", ");
            let _ = writeln!(text, "\nWithout a value (see --context): {keys}");
        }
        text
    }
}

impl Decider {
    fn of(statement: &MatchedStatement) -> Self {
        Self {
            policy_type: statement.kind.as_str(),
            policy: statement.policy.as_deref().map(ToOwned::to_owned),
            policy_owner: statement.owner.as_deref().map(ToOwned::to_owned),
            statement: statement.statement,
            sid: statement.sid.as_deref().map(ToOwned::to_owned),
        }
    }

    fn text(&self) -> String {
        let policy = policy_name(
            self.policy_type,
            self.policy.as_deref(),
            self.policy_owner.as_deref(),
        );
        let sid = self.sid.as_ref().map(|sid| format!(" ({sid})"));
        let (at, sid) = (self.statement, sid.unwrap_or_default());
        format!("statement {at}{sid} of the {policy}")
    }
}

/// Such as `identity policy own of user/ann`.
fn policy_name(kind: &str, name: Option<&str>, owner: Option<&str>) -> String {
    let mut text = format!("{kind} policy");
    if let Some(name) = name {
        text.extend([" ", name]);
    }
    if let Some(owner) = owner {
        text.extend([" of ", owner]);
    }
    text
}

impl PolicyReport {
    fn of(policy: &ExplainedPolicy) -> Self {
        let kind = policy.kind;
        let statements = policy.statements.iter();
        Self {
            r#type: kind.as_str(),
            name: policy.name.as_deref().map(ToOwned::to_owned),
            owner: policy.owner.as_deref().map(ToOwned::to_owned),
            statements: statements
                .map(|statement| StatementReport::of(statement, kind))
                .collect(),
        }
    }

    fn title(&self) -> String {
        policy_name(self.r#type, self.name.as_deref(), self.owner.as_deref())
    }
}

impl StatementReport {
    fn of(statement: &ExplainedStatement, kind: PolicyKind) -> Self {
        Self {
            index: statement.index,
            sid: statement.sid.as_deref().map(ToOwned::to_owned),
            effect: match statement.effect {
                Effect::Allow => "Allow",
                Effect::Deny => "Deny",
            },
            line: statement.line,
            applies: statement.applicability.applies(),
            why: why(statement, kind),
            start: Place::of(statement.start),
            end: Place::of(statement.end),
        }
    }

    fn text(&self) -> String {
        let sid = self.sid.as_ref().map(|sid| format!(" ({sid})"));
        let (index, sid, line) = (self.index, sid.unwrap_or_default(), self.line);
        format!("statement {index}{sid}, line {line}: {}", self.why)
    }
}

impl Place {
    const fn of(position: TextPosition) -> Self {
        Self {
            line: position.line,
            column: position.column,
        }
    }
}

/// What the statement does, or what keeps it from applying.
fn why(statement: &ExplainedStatement, kind: PolicyKind) -> String {
    let within = matches!(kind, PolicyKind::Boundary | PolicyKind::Session);
    match (&statement.applicability, statement.effect) {
        (Applicability::Applies, Effect::Allow) if within => {
            "allows, within what other policies allow".to_owned()
        }
        (Applicability::Applies, Effect::Allow) => "allows".to_owned(),
        (Applicability::Applies | Applicability::Delegates, Effect::Deny) => "denies".to_owned(),
        (Applicability::Delegates, Effect::Allow) => {
            "allows what the policies of the caller's account allow".to_owned()
        }
        (Applicability::OtherAction, _) => "is about other actions".to_owned(),
        (Applicability::OtherResource, _) => "is about other resources".to_owned(),
        (Applicability::OtherPrincipal, _) => "is about other principals".to_owned(),
        (Applicability::NotCompared, _) => "was not compared: too much work".to_owned(),
        (
            Applicability::ConditionFails {
                operator,
                key,
                values,
            },
            _,
        ) => {
            let found = if values.is_empty() {
                "the request has no value".to_owned()
            } else {
                format!("the request has {}", values.join(", "))
            };
            format!("the condition {operator} on {key} does not hold: {found}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(applicability: Applicability, effect: Effect) -> ExplainedStatement {
        let place = TextPosition { line: 3, column: 9 };
        ExplainedStatement {
            index: 1,
            sid: Some("Push".into()),
            effect,
            line: 3,
            start: place,
            end: place,
            applicability,
        }
    }

    #[test]
    fn a_statement_says_what_it_does() {
        let fails = Applicability::ConditionFails {
            operator: "IpAddress".into(),
            key: "aws:SourceIp".into(),
            values: vec!["10.0.0.1".into()],
        };
        for (applicability, effect, kind, expected) in [
            (
                Applicability::Applies,
                Effect::Allow,
                PolicyKind::Identity,
                "allows",
            ),
            (
                Applicability::Applies,
                Effect::Deny,
                PolicyKind::Boundary,
                "denies",
            ),
            (
                Applicability::Applies,
                Effect::Allow,
                PolicyKind::Boundary,
                "allows, within what other policies allow",
            ),
            (
                fails,
                Effect::Allow,
                PolicyKind::Identity,
                "the condition IpAddress on aws:SourceIp does not hold: the request has 10.0.0.1",
            ),
        ] {
            let report = StatementReport::of(&statement(applicability, effect), kind);
            assert_eq!(
                report.text(),
                format!("statement 1 (Push), line 3: {expected}")
            );
        }
    }

    #[test]
    fn policies_are_named_with_their_owner() {
        assert_eq!(policy_name("resource", None, None), "resource policy");
        let own = policy_name("identity", Some("own"), Some("user/ann"));
        assert_eq!(own, "identity policy own of user/ann");
    }
}
