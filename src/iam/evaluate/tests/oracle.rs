//! The combination of policies compared with a simple oracle.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["root", "ann", "bob"];
const ACTIONS: [&str; 4] = ["*", "ecr:*", "ecr:Put*", "ecr:GetRepositoryPolicy"];
const RESOURCES: [&str; 3] = [
    "*",
    "arn:aws:ecr:*:*:repository/w?b",
    "arn:aws:ecr:us-east-1:111111111111:repository/other",
];

/// A statement as drawn: indices into the tables above. `principals`: 0 is `*`, 1 and 2 the
/// accounts, then users of both.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent draws")]
struct Drawn {
    deny: bool,
    not_action: bool,
    action: usize,
    not_resource: bool,
    resource: usize,
    principals: Vec<usize>,
    insecure_only: bool,
}

const PRINCIPALS: [&str; 7] = [
    "*",
    HOME,
    AWAY,
    "arn:aws:iam::111111111111:user/ann",
    "arn:aws:iam::111111111111:user/bob",
    "arn:aws:iam::222222222222:user/ann",
    "arn:aws:iam::222222222222:user/bob",
];

impl Drawn {
    fn json(&self, identity: bool) -> Value {
        let mut statement = json!({"Effect": if self.deny { "Deny" } else { "Allow" }});
        statement[if self.not_action {
            "NotAction"
        } else {
            "Action"
        }] = json!(ACTIONS[self.action]);
        if identity {
            statement[if self.not_resource {
                "NotResource"
            } else {
                "Resource"
            }] = json!(RESOURCES[self.resource]);
        } else {
            let names = self.principals.iter().map(|at| PRINCIPALS[*at]);
            statement["Principal"] = json!({"AWS": names.collect::<Vec<_>>()});
        }
        if self.insecure_only {
            statement["Condition"] = json!({"Bool": {"aws:SecureTransport": "false"}});
        }
        statement
    }

    /// Whether it applies to `PutImage` on `web`, over TLS. Worked out by hand from the tables.
    fn speaks(&self, identity: bool) -> bool {
        let action = (self.action < 3) != self.not_action;
        let resource = !identity || (self.resource < 2) != self.not_resource;
        action && resource && !self.insecure_only
    }

    fn grants(&self, id: &str, name: &str) -> bool {
        self.principals
            .iter()
            .any(|at| *at == 0 || PRINCIPALS[*at] == format!("arn:aws:iam::{id}:user/{name}"))
    }

    fn delegates(&self, id: &str) -> bool {
        self.principals.iter().any(|at| PRINCIPALS[*at] == id)
    }
}

/// The rules of the file's opening, as sets.
fn oracle(id: &str, name: &str, identity: &[Drawn], resource: &[Drawn]) -> bool {
    let own: Vec<_> = identity
        .iter()
        .filter(|drawn| name != "root" && drawn.speaks(true))
        .collect();
    let hung: Vec<_> = resource
        .iter()
        .filter(|drawn| drawn.speaks(false) && (drawn.grants(id, name) || drawn.delegates(id)))
        .collect();
    if own.iter().chain(&hung).any(|drawn| drawn.deny) {
        return false;
    }
    let identity_allows = name == "root" || !own.is_empty();
    if id == HOME {
        identity_allows || hung.iter().any(|drawn| drawn.grants(id, name))
    } else {
        identity_allows && !hung.is_empty()
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let principals = prop::collection::vec(0..PRINCIPALS.len(), 1..3);
    (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
        0..ACTIONS.len(),
        prop::bool::weighted(0.2),
        0..RESOURCES.len(),
        principals,
        prop::bool::weighted(0.15),
    )
        .prop_map(
            |(deny, not_action, action, not_resource, resource, principals, insecure_only)| Drawn {
                deny,
                not_action,
                action,
                not_resource,
                resource,
                principals,
                insecure_only,
            },
        )
}

fn world() -> impl Strategy<Value = (&'static str, &'static str, Vec<Drawn>, Vec<Drawn>)> {
    let statements = || prop::collection::vec(drawn(), 0..4);
    (
        prop::sample::select(vec![HOME, AWAY]),
        prop::sample::select(NAMES.to_vec()),
        statements(),
        statements(),
    )
}

fn decided(id: &str, name: &str, identity: &[Drawn], resource: &[Drawn]) -> Decision {
    let own: Vec<_> = identity.iter().map(|drawn| drawn.json(true)).collect();
    let hung: Vec<_> = resource.iter().map(|drawn| drawn.json(false)).collect();
    decide(&caller(id, name, &own), "ecr:PutImage", &hung).0
}

proptest! {
    #[test]
    fn decisions_agree_with_the_oracle((id, name, identity, resource) in world()) {
        let allowed = decided(id, name, &identity, &resource).is_allow();
        prop_assert_eq!(allowed, oracle(id, name, &identity, &resource));
    }

    #[test]
    fn the_order_of_statements_decides_nothing((id, name, mut identity, mut resource) in world()) {
        let before = decided(id, name, &identity, &resource).is_allow();
        identity.reverse();
        resource.reverse();
        prop_assert_eq!(decided(id, name, &identity, &resource).is_allow(), before);
    }

    #[test]
    fn one_more_allow_never_takes_away(
        (id, name, mut identity, mut resource) in world(),
        mut more in drawn(),
        own in any::<bool>(),
    ) {
        let before = decided(id, name, &identity, &resource).is_allow();
        more.deny = false;
        if own { identity.push(more) } else { resource.push(more) }
        prop_assert!(!before || decided(id, name, &identity, &resource).is_allow());
    }

    #[test]
    fn one_more_deny_never_gives(
        (id, name, mut identity, mut resource) in world(),
        mut more in drawn(),
        own in any::<bool>(),
    ) {
        let before = decided(id, name, &identity, &resource).is_allow();
        more.deny = true;
        if own { identity.push(more) } else { resource.push(more) }
        prop_assert!(before || !decided(id, name, &identity, &resource).is_allow());
    }
}
