//! The policy simulator: every decision of the table, and its own members.

use std::collections::BTreeSet;
use std::fs;

use crate::iam::written::{AWAY, HOME, ROLE_ID, cases, resource_named, statement};
use crate::support::{Aws, QueryOutcome, Setup, TestServer};
use serde_json::json;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;

/// The form of one simulation.
#[derive(Clone, Debug, Default)]
struct Form(Vec<(String, String)>);

impl Form {
    fn set(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    fn list(&mut self, name: &str, values: &[String]) {
        for (at, value) in values.iter().enumerate() {
            self.set(&format!("{name}.member.{}", at + 1), value);
        }
        if values.is_empty() {
            self.set(name, "");
        }
    }

    async fn send(&self, root: &Aws, operation: &str) -> QueryOutcome {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        root.iam_ok(operation, &members).await
    }
}

/// The users ann and eve and the role /ci/deploy, whose unique ids stand for those of the table.
struct World {
    _server: TestServer,
    root: Aws,
    ids: [(String, String); 3],
}

impl World {
    async fn new() -> Self {
        let arguments = &["--account=111111111111"];
        let server = TestServer::start(Setup {
            arguments,
            ..Setup::default()
        })
        .await;
        let root = server.aws();
        let user = async |name: &str| {
            let made = root.iam_ok("CreateUser", &[("UserName", name)]).await;
            let table_id = format!("AIDACKCEVSQ6C2{}", name.to_uppercase());
            (table_id, made.text("UserId"))
        };
        let (ann, eve) = (user("ann").await, user("eve").await);
        let role = [
            ("RoleName", "deploy"),
            ("Path", "/ci/"),
            ("AssumeRolePolicyDocument", TRUST),
        ];
        let role = root.iam_ok("CreateRole", &role).await.text("RoleId");
        Self {
            _server: server,
            root,
            ids: [ann, eve, (ROLE_ID.to_owned(), role)],
        }
    }

    /// The document with the ids that the entities have here.
    fn document(&self, version: &str, text: &str) -> String {
        let statements: Vec<_> = text.split(';').map(statement).collect();
        let document = json!({"Version": version, "Statement": statements}).to_string();
        // The simulator takes keys of five characters at least.
        let document = document.replace("\"x:", "\"test:").replace("{x:", "{test:");
        let ids = self.ids.iter();
        ids.fold(document, |document, (table, own)| {
            document.replace(table, own)
        })
    }

    /// The simulation of a line; `None` for what simulations cannot express.
    fn form(&self, fields: &[&str]) -> Option<Form> {
        let (caller, (action, resource)) = (fields[0], fields[1].split_once(' ')?);
        let is_known = ["ann", "eve", "bob@away", "run"].contains(&caller);
        let line = fields.join("|");
        // Another account's ids, and the name of a session, exist in the table only; a trust policy
        // belongs to another operation.
        let unknown = ["id:bob", "trust ", "session ", "sts:", "other-run"];
        let names_session =
            caller == "run" && fields[2..].iter().any(|field| field.contains("run"));
        if !is_known || names_session || unknown.iter().any(|word| line.contains(word)) {
            return None;
        }
        let (mut form, mut own, mut shared) = (Form::default(), Vec::new(), Vec::new());
        let mut entries = vec![
            (
                "aws:CurrentTime".to_owned(),
                "1970-01-01T00:00:00Z".to_owned(),
            ),
            ("aws:EpochTime".to_owned(), "0".to_owned()),
            ("aws:SecureTransport".to_owned(), "true".to_owned()),
        ];
        for field in fields[2..].iter().filter(|field| !field.is_empty()) {
            let (kind, text) = field.split_once(' ')?;
            match kind {
                "own" => own.push(self.document("2012-10-17", text)),
                "own2008" => own.push(self.document("2008-10-17", text)),
                "managed" => own.push(managed(text)),
                "boundary" => {
                    let boundary = self.document("2012-10-17", text);
                    form.list("PermissionsBoundaryPolicyInputList", &[boundary]);
                }
                "resource" | "registry" => shared.push(self.document("2012-10-17", text)),
                "with" => text
                    .split_whitespace()
                    .for_each(|word| circumstance(word, &mut entries)),
                _ => return None,
            }
        }
        if shared.len() > 1 {
            return None;
        }
        form.list("PolicyInputList", &own);
        if let Some(shared) = shared.first() {
            form.set("ResourcePolicy", shared);
        }
        form.set("ActionNames.member.1", action);
        if resource != "-" {
            form.set("ResourceArns.member.1", &resource_named(resource));
        }
        form.set("ResourceOwner", HOME);
        add_entries(&mut form, &entries);
        Some(form)
    }
}

/// The text of one of AWS's policies.
fn managed(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../iam/managed/");
    fs::read_to_string(format!("{folder}{name}.json")).expect("a policy")
}

/// One circumstance as values of condition keys.
fn circumstance(word: &str, entries: &mut Vec<(String, String)>) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let mut replace = |key: &str, value: &str| {
        entries.retain(|(known, _)| known != key);
        entries.push((key.to_owned(), value.to_owned()));
    };
    match name.split_once('/') {
        Some(("resource", key)) => entries.push((format!("aws:ResourceTag/{key}"), value.into())),
        Some(("request", key)) => {
            entries.push((format!("aws:RequestTag/{key}"), value.into()));
            entries.push(("aws:TagKeys".into(), key.into()));
        }
        Some(("principal", key)) => {
            entries.push((format!("aws:PrincipalTag/{key}"), value.into()));
        }
        Some(("removed", key)) => entries.push(("aws:TagKeys".into(), key.into())),
        _ => match name {
            "now" => {
                let time: jiff::Timestamp = value.parse().expect("a time");
                replace("aws:CurrentTime", value);
                replace("aws:EpochTime", &time.as_second().to_string());
            }
            "issued" => {
                replace("aws:TokenIssueTime", value);
                replace("aws:MultiFactorAuthPresent", "false");
            }
            "ip" => replace("aws:SourceIp", value),
            "secure" => replace("aws:SecureTransport", value),
            "agent" => replace("aws:UserAgent", value),
            "region" => replace("aws:RequestedRegion", value),
            key => {
                let key = key.strip_prefix("x:").map(|key| format!("test:{key}"));
                let key = key.unwrap_or_else(|| name.to_owned());
                entries.push((key, value.to_owned()));
            }
        },
    }
}

/// Adds the entries, those of keys that differ by case alone as one.
fn add_entries(form: &mut Form, entries: &[(String, String)]) {
    let mut at = 0;
    let mut done = BTreeSet::new();
    for (key, _) in entries {
        if !done.insert(key.to_lowercase()) {
            continue;
        }
        at += 1;
        let entry = format!("ContextEntries.member.{at}");
        form.set(&format!("{entry}.ContextKeyName"), key);
        form.set(&format!("{entry}.ContextKeyType"), "stringList");
        let values = entries
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(key));
        let values: Vec<_> = values.map(|(_, value)| value.clone()).collect();
        form.list(&format!("{entry}.ContextKeyValues"), &values);
    }
}

/// What the simulator calls an expected decision.
fn expected(text: &str) -> Option<&'static str> {
    match text.split(' ').next() {
        Some("allow") => Some("allowed"),
        Some("deny") => Some("explicitDeny"),
        Some("no") => Some("implicitDeny"),
        _ => None,
    }
}

#[tokio::test]
async fn every_decision_of_the_table_is_simulated_as_it_is_made() {
    let world = World::new().await;
    let (mut wrong, mut custom, mut of_principal) = (Vec::new(), 0, 0);
    for (line, fields) in cases() {
        let (Some(expected), Some(form)) = (expected(fields[0]), world.form(&fields[1..])) else {
            continue;
        };
        let mut check = async |operation: &str, form: &Form| {
            let found = form.send(&world.root, operation).await;
            if found.text("EvalDecision") != expected {
                wrong.push(format!(
                    "decisions.txt:{line}: {operation}: {}",
                    found.document
                ));
            }
        };
        let arn = match fields[1] {
            "run" => None,
            "bob@away" => Some(format!("arn:aws:iam::{AWAY}:user/bob")),
            user => Some(format!("arn:aws:iam::{HOME}:user/{user}")),
        };
        if let Some(arn) = &arn {
            let mut named = form.clone();
            named.set("CallerArn", arn);
            check("SimulateCustomPolicy", &named).await;
            custom += 1;
        }
        let source = arn.unwrap_or_else(|| format!("arn:aws:iam::{HOME}:role/ci/deploy"));
        if !source.contains(AWAY) {
            let mut attached = form;
            attached.set("PolicySourceArn", &source);
            check("SimulatePrincipalPolicy", &attached).await;
            of_principal += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        custom > 250 && of_principal > 250,
        "{custom}, {of_principal}"
    );
}

const OWN: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"ecr:Get*","Resource":"*"},
    {"Effect":"Deny","Action":"ecr:PutImage","Resource":"*"},
    {"Effect":"Allow","Action":"ecr:*","Resource":"*",
     "Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#;

#[tokio::test]
async fn a_result_names_statements_and_what_is_missing() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let simulate = async |more: &[(&str, &str)]| {
        let own = [("PolicyInputList.member.1", OWN)];
        root.iam_ok("SimulateCustomPolicy", &[&own[..], more].concat())
            .await
    };
    let denied = simulate(&[("ActionNames.member.1", "ecr:PutImage")]).await;
    assert_eq!(denied.text("EvalDecision"), "explicitDeny");
    assert_eq!(denied.text("EvalResourceName"), "*");
    assert_eq!(
        denied.all("SourcePolicyId"),
        ["PolicyInputList.1"],
        "the denial alone"
    );
    assert_eq!(
        denied.all("Line"),
        ["3", "2"],
        "its end, and the end of the one before"
    );
    let without = simulate(&[("ActionNames.member.1", "ecr:ListImages")]).await;
    assert_eq!(without.text("EvalDecision"), "implicitDeny");
    assert!(without.all("SourcePolicyId").is_empty());
    let missing = "<MissingContextValues><member>aws:SourceIp</member></MissingContextValues>";
    assert!(without.document.contains(missing), "{}", without.document);
    let with = simulate(&[
        ("ActionNames.member.1", "ecr:ListImages"),
        (
            "ResourceArns.member.1",
            "arn:aws:ecr:us-east-1:123456789012:repository/web",
        ),
        ("ContextEntries.member.1.ContextKeyName", "aws:SourceIp"),
        ("ContextEntries.member.1.ContextKeyType", "ip"),
        (
            "ContextEntries.member.1.ContextKeyValues.member.1",
            "10.0.0.1",
        ),
        (
            "PermissionsBoundaryPolicyInputList.member.1",
            r#"{"Statement":{"Effect":"Allow","Action":"ecr:Put*","Resource":"*"}}"#,
        ),
    ])
    .await;
    assert_eq!(
        with.text("EvalDecision"),
        "implicitDeny",
        "{}",
        with.document
    );
    assert_eq!(with.text("AllowedByPermissionsBoundary"), "false");
    assert_eq!(with.text("EvalResourceDecision"), "implicitDeny");
    let keys = root.iam_ok(
        "GetContextKeysForCustomPolicy",
        &[("PolicyInputList.member.1", OWN)],
    );
    assert!(
        keys.await
            .document
            .contains("<member>aws:SourceIp</member>")
    );
}

#[tokio::test]
async fn a_principal_is_simulated_with_what_is_attached_to_it() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    root.iam_ok("CreateGroup", &[("GroupName", "ops")]).await;
    root.iam_ok(
        "AddUserToGroup",
        &[("GroupName", "ops"), ("UserName", "ann")],
    )
    .await;
    let put = [
        ("GroupName", "ops"),
        ("PolicyName", "own"),
        ("PolicyDocument", OWN),
    ];
    root.iam_ok("PutGroupPolicy", &put).await;
    let read_only = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
    root.iam_ok(
        "AttachUserPolicy",
        &[("UserName", "ann"), ("PolicyArn", read_only)],
    )
    .await;
    let ann = ("PolicySourceArn", "arn:aws:iam::123456789012:user/ann");
    let action = ("ActionNames.member.1", "ecr:GetDownloadUrlForLayer");
    let found = root.iam_ok("SimulatePrincipalPolicy", &[ann, action]).await;
    assert_eq!(found.text("EvalDecision"), "allowed");
    let mut sources: Vec<_> = found.all("SourcePolicyId");
    sources.sort_unstable();
    assert_eq!(sources, ["AmazonEC2ContainerRegistryReadOnly", "own"]);
    let mut types = found.all("SourcePolicyType");
    types.sort_unstable();
    assert_eq!(types, ["aws-managed", "group"]);
    let excluded = [
        ("PolicyExclusionList.member.1.PolicyType", "inline"),
        ("PolicyExclusionList.member.2.PolicyArn", read_only),
    ];
    let members = [&[ann, action][..], &excluded].concat();
    let found = root.iam_ok("SimulatePrincipalPolicy", &members).await;
    assert_eq!(found.text("EvalDecision"), "implicitDeny");
    let keys = root
        .iam_ok("GetContextKeysForPrincipalPolicy", &[ann])
        .await;
    assert_eq!(keys.all("member"), ["aws:SourceIp"]);
    let group = ("PolicySourceArn", "arn:aws:iam::123456789012:group/ops");
    let found = root
        .iam_ok("SimulatePrincipalPolicy", &[group, action])
        .await;
    assert_eq!(found.text("EvalDecision"), "allowed");
    let eve = ("PolicySourceArn", "arn:aws:iam::123456789012:user/eve");
    let missing = root.iam("SimulatePrincipalPolicy", &[eve, action]).await;
    missing.assert_fault(404, "NoSuchEntity", "eve");
}

#[tokio::test]
async fn results_come_in_pages() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let mut members = vec![("PolicyInputList.member.1", OWN), ("MaxItems", "2")];
    let names = ["ecr:GetX", "ecr:ListImages", "ecr:PutImage"];
    let keys = [
        "ActionNames.member.1",
        "ActionNames.member.2",
        "ActionNames.member.3",
    ];
    members.extend(keys.into_iter().zip(names));
    let first = root.iam_ok("SimulateCustomPolicy", &members).await;
    assert_eq!(first.all("EvalActionName"), names[..2]);
    assert_eq!(first.text("IsTruncated"), "true");
    let marker = first.text("Marker");
    members.push(("Marker", &marker));
    let second = root.iam_ok("SimulateCustomPolicy", &members).await;
    assert_eq!(second.all("EvalActionName"), names[2..]);
    assert_eq!(second.text("IsTruncated"), "false");
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let own = ("PolicyInputList.member.1", OWN);
    let action = ("ActionNames.member.1", "ecr:PutImage");
    let shared = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}"#;
    let entry = "ContextEntries.member.1.";
    let (name, kind, value) = (
        format!("{entry}ContextKeyName"),
        format!("{entry}ContextKeyType"),
        format!("{entry}ContextKeyValues.member.1"),
    );
    for (members, message) in [
        (
            vec![("PolicyInputList.member.1", "{}"), action],
            "PolicyInputList.1",
        ),
        (
            vec![own, ("ActionNames.member.1", "ecr:Put*")],
            "action name",
        ),
        (
            vec![own, action, ("ResourceArns.member.1", "web")],
            "resource ARN",
        ),
        (
            vec![own, action, ("ResourcePolicy", shared)],
            "CallerArn is required",
        ),
        (
            vec![
                own,
                action,
                ("CallerArn", "arn:aws:iam::123456789012:role/x"),
            ],
            "IAM user",
        ),
        (
            vec![own, action, ("ResourceHandlingOption", "EC2-Classic-EBS")],
            "Amazon EC2",
        ),
        (
            vec![
                own,
                action,
                (&name, "aws:SourceIp"),
                (&kind, "ip"),
                (&value, "here"),
            ],
            "another type",
        ),
    ] {
        let refused = root.iam("SimulateCustomPolicy", &members).await;
        refused.assert_fault(400, "InvalidInput", message);
    }
    let user = server.aws_user("123456789012", "ann", OWN);
    let refused = user.iam("SimulateCustomPolicy", &[own, action]).await;
    refused.assert_fault(
        403,
        "AccessDenied",
        "iam:SimulateCustomPolicy on resource: *",
    );
}

/// The work of one request is bounded, whatever it names.
#[tokio::test]
async fn a_simulation_that_takes_too_long_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let statements: Vec<_> = (0..60)
        .map(|_| json!({"Effect": "Allow", "Action": "*", "Resource": "*"}))
        .collect();
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let mut form = Form::default();
    form.list("PolicyInputList", &vec![document; 20]);
    let actions: Vec<_> = (0..1_000).map(|at| format!("ecr:Put{at}")).collect();
    form.list("ActionNames", &actions);
    form.set("MaxItems", "1000");
    let members = form
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let members: Vec<_> = members.collect();
    let refused = root.iam("SimulateCustomPolicy", &members).await;
    refused.assert_fault(400, "InvalidInput", "takes too long");
    let many: Vec<_> = (0..60).map(|at| format!("arn:aws:ecr:::r{at}")).collect();
    form.list("ResourceArns", &many);
    let members = form
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let members: Vec<_> = members.collect();
    let refused = root.iam("SimulateCustomPolicy", &members).await;
    refused.assert_fault(400, "InvalidInput", "3000 combinations");
}
