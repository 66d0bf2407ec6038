//! The table of decisions, sent as real requests: callers, policies, boundaries and session
//! policies are set up by the API, and the response must be what the table says.

mod scene;

use serde_json::{Value, json};

use crate::iam::decisions::scene::{Caller, Circumstances, Scene};
use crate::iam::written::{HOME, cases, resource_named};
use crate::support::{Aws, on};

/// What a server did with a request: `allow`, or why it was denied, in the words of the table.
fn found(denial: Option<&str>) -> String {
    let Some(message) = denial else {
        return "allow".to_owned();
    };
    let kinds = [
        ("identity-based policy", "identity"),
        ("resource-based policy", "resource"),
        ("permissions boundary", "boundary"),
        ("session policy", "session"),
        ("role trust policy", "trust"),
    ];
    for (words, kind) in kinds {
        if message.contains(&format!("because no {words} allows")) {
            return format!("no {kind}");
        }
        if message.ends_with(words) && message.contains("with an explicit deny in a") {
            return format!("deny by {kind}");
        }
    }
    message.to_owned()
}

/// The ARN of one of AWS's policies, which is where the server lists it.
fn managed_arn(name: &str) -> String {
    let path = match name {
        "AmazonECSTaskExecutionRolePolicy" | "AmazonEC2ContainerServiceforEC2Role" => {
            "service-role/"
        }
        _ => "",
    };
    format!("arn:aws:iam::aws:policy/{path}{name}")
}

/// A line of the table.
struct Line {
    caller: Caller,
    action: &'static str,
    resource: &'static str,
    with: Circumstances,
}

impl Line {
    /// Reads the fields after the expected decision; `None` for what no request can express.
    fn read(fields: &[&'static str]) -> Option<Self> {
        let caller = Caller::named(fields[0])?;
        let (action, resource) = fields[1].split_once(' ')?;
        let line = fields.join("|");
        // Principals that do not exist when the policy is stored, or exist in the table only.
        let missing = ["other-role", "provider"];
        // Requests come over plain HTTP, and sessions begin now.
        let is_session = caller.is_session();
        let of_session = ["TokenIssueTime", "MultiFactorAuthPresent"];
        let differs = is_session && of_session.iter().any(|key| line.contains(key));
        if differs || missing.iter().any(|name| line.contains(name)) {
            return None;
        }
        let mut with = Circumstances::default();
        for field in &fields[2..] {
            let (kind, text) = field.split_once(' ').unwrap_or((field, ""));
            let is_expressible = match kind {
                "" | "own" | "own2008" | "managed" => caller != Caller::Root,
                "boundary" => caller.has_boundary(),
                "session" => is_session,
                "resource" => true,
                "trust" => action.starts_with("sts:"),
                "with" => text.split_whitespace().all(|word| with.read(word)),
                _ => false,
            };
            if !is_expressible && !kind.is_empty() {
                return None;
            }
        }
        Some(Self {
            caller,
            action,
            resource,
            with,
        })
    }

    /// Sends the request; returns the message of a denial. `None` in the outer place for an action
    /// that no operation has.
    async fn send(&self, aws: &Aws, line: usize) -> Option<Option<String>> {
        let (service, operation) = self.action.split_once(':')?;
        match service {
            "ecr" => {
                let document = self.ecr_document(operation)?;
                let outcome = self.ecr(aws, operation, &document).await;
                let is_denied = outcome["__type"] == "AccessDeniedException";
                let message = outcome["message"].as_str().unwrap_or_default();
                Some(is_denied.then(|| message.to_owned()))
            }
            "iam" => {
                let name = format!("made-{line}");
                let members = match operation {
                    "CreateUser" => vec![("UserName", name.as_str())],
                    "GetUser" => vec![("UserName", "eve")],
                    "ListRoles" => Vec::new(),
                    _ => return None,
                };
                let outcome = aws.iam(operation, &members).await;
                Some(outcome.denial())
            }
            "sts" => self.assume(aws, operation).await,
            _ => None,
        }
    }

    fn ecr_document(&self, operation: &str) -> Option<Value> {
        let arn = resource_named(self.resource);
        let of_repository = |more: Value| {
            let mut document = on(self.resource, more);
            document["registryId"] = json!(HOME);
            Some(document)
        };
        match operation {
            "PutImage" => of_repository(json!({"imageManifest": "{"})),
            "BatchGetImage" => of_repository(json!({"imageIds": [{"imageTag": "x"}]})),
            "DescribeImages" | "DeleteRepository" => of_repository(json!({})),
            "GetAuthorizationToken" => Some(json!({})),
            "TagResource" => {
                let tags = self.with.request_tags.iter();
                let tags: Vec<_> = tags
                    .map(|(key, value)| json!({"Key": key, "Value": value}))
                    .collect();
                Some(json!({"resourceArn": arn, "tags": tags}))
            }
            "UntagResource" => Some(json!({"resourceArn": arn, "tagKeys": self.with.removed_tags})),
            _ => None,
        }
    }

    async fn ecr(&self, aws: &Aws, operation: &str, document: &Value) -> Value {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        headers.extend(self.with.agent.map(|agent| ("user-agent", agent)));
        let response = aws.post(&headers, &document.to_string()).await;
        serde_json::from_slice(&response.body).expect("JSON")
    }

    async fn assume(&self, aws: &Aws, operation: &str) -> Option<Option<String>> {
        if !matches!(operation, "AssumeRole" | "TagSession") || self.caller == Caller::Root {
            return None;
        }
        let role = resource_named(self.resource);
        let mut members = vec![("RoleArn".to_owned(), role)];
        let mut set = |name: &str, value: &str| members.push((name.to_owned(), value.to_owned()));
        let session = self.with.sts("RoleSessionName").unwrap_or("run");
        set("RoleSessionName", session);
        for name in ["ExternalId", "SourceIdentity"] {
            if let Some(value) = self.with.sts(name) {
                set(name, value);
            }
        }
        let transitive = self.with.sts_values("TransitiveTagKeys");
        let mut tags = self.with.request_tags.clone();
        tags.extend(transitive.iter().map(|key| (*key, "x")));
        for (at, (key, value)) in tags.iter().enumerate() {
            set(&format!("Tags.member.{}.Key", at + 1), key);
            set(&format!("Tags.member.{}.Value", at + 1), value);
        }
        for (at, key) in transitive.iter().enumerate() {
            set(&format!("TransitiveTagKeys.member.{}", at + 1), key);
        }
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Some(aws.sts("AssumeRole", &members).await.denial())
    }
}

#[tokio::test]
async fn every_decision_of_the_table_is_made_about_a_real_request() {
    let mut scene = Scene::new().await;
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (number, fields) in cases() {
        let Some(line) = Line::read(&fields[1..]) else {
            continue;
        };
        let aws = scene
            .set(line.caller, line.resource, &fields[1..], &line.with)
            .await;
        let denial = line.send(&aws, number).await;
        scene.clear().await;
        let Some(denial) = denial else { continue };
        compared += 1;
        let found = found(denial.as_deref());
        if found != fields[0] {
            wrong.push(format!("decisions.txt:{number}: {found}: {fields:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 340, "{compared} cases");
}
