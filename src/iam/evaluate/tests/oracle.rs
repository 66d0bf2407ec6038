//! The combination of policies compared with a simple oracle.

use proptest::prelude::*;

use super::*;
use crate::explain::{Applicability, Explainer};

const NAMES: [&str; 4] = ["root", "ann", "bob", "run"];
const ACTIONS: [&str; 4] = ["*", "ecr:*", "ecr:Put*", "ecr:GetRepositoryPolicy"];
const RESOURCES: [&str; 3] = [
    "*",
    "arn:aws:ecr:*:*:repository/w?b",
    "arn:aws:ecr:us-east-1:111111111111:repository/other",
];

/// A statement as drawn: indices into the tables above. `principals`: 0 is `*`, 1 and 2 the
/// accounts, then users, the role and its session of both.
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

const PRINCIPALS: [&str; 11] = [
    "*",
    HOME,
    AWAY,
    "arn:aws:iam::111111111111:user/ann",
    "arn:aws:iam::111111111111:user/bob",
    "arn:aws:iam::222222222222:user/ann",
    "arn:aws:iam::222222222222:user/bob",
    "arn:aws:iam::111111111111:role/ci/deploy",
    "arn:aws:sts::111111111111:assumed-role/deploy/run",
    "arn:aws:iam::222222222222:role/ci/deploy",
    "arn:aws:sts::222222222222:assumed-role/deploy/run",
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

    fn names(&self, principal: &str) -> bool {
        self.principals
            .iter()
            .any(|at| PRINCIPALS[*at] == principal)
    }
}

/// The statements of every kind of policy, and who is the caller.
#[derive(Clone, Debug)]
struct World {
    account: &'static str,
    name: &'static str,
    identity: Vec<Drawn>,
    resource: Vec<Drawn>,
    boundary: Option<Vec<Drawn>>,
    /// Each policy of the session.
    session: Vec<Vec<Drawn>>,
}

impl World {
    /// Whether a statement of the resource policy names the caller directly.
    fn is_named(&self, drawn: &Drawn) -> bool {
        let own = match self.name {
            "run" => format!("arn:aws:sts::{}:assumed-role/deploy/run", self.account),
            // A user with session policies is named by its identity only.
            user if self.session.is_empty() => {
                format!("arn:aws:iam::{}:user/{user}", self.account)
            }
            _ => String::new(),
        };
        drawn.names("*") || drawn.names(&own)
    }

    /// Whether it names the role of the caller, or a user whose session has policies.
    fn is_named_within_limits(&self, drawn: &Drawn) -> bool {
        let identity = match self.name {
            "run" => "role/ci/deploy".to_owned(),
            user => format!("user/{user}"),
        };
        drawn.names(&format!("arn:aws:iam::{}:{identity}", self.account))
    }

    /// The rules of the file's opening, as sets.
    fn allows(&self) -> bool {
        let root = self.name == "root";
        let speaking = |drawn: &&Drawn| drawn.speaks(true);
        let own: Vec<_> = if root {
            Vec::new()
        } else {
            self.identity.iter().filter(speaking).collect()
        };
        let hung: Vec<_> = self
            .resource
            .iter()
            .filter(|drawn| drawn.speaks(false))
            .filter(|drawn| {
                self.is_named(drawn)
                    || self.is_named_within_limits(drawn)
                    || drawn.names(self.account)
            })
            .collect();
        let limits: Vec<_> = self
            .boundary
            .iter()
            .chain(&self.session)
            .flatten()
            .filter(speaking)
            .collect();
        if own
            .iter()
            .chain(&hung)
            .chain(&limits)
            .any(|drawn| drawn.deny)
        {
            return false;
        }
        let in_boundary = self
            .boundary
            .as_ref()
            .is_none_or(|boundary| boundary.iter().any(|drawn| drawn.speaks(true)));
        let mut of_session = self.session.iter().flatten();
        let in_session = self.session.is_empty() || of_session.any(|drawn| drawn.speaks(true));
        let limited = root || (in_boundary && in_session);
        let identity_allows = root || (limited && !own.is_empty());
        if self.account == HOME {
            identity_allows
                || hung.iter().any(|drawn| self.is_named(drawn))
                || (limited && hung.iter().any(|drawn| self.is_named_within_limits(drawn)))
        } else {
            identity_allows && !hung.is_empty()
        }
    }

    fn decided(&self) -> Decision {
        let (caller, hung) = self.policies();
        decide(&caller, "ecr:PutImage", &hung).0
    }

    /// The caller with its policies, and the statements of the resource policy.
    fn policies(&self) -> (Caller, Vec<Value>) {
        let json = |drawn: &[Drawn], identity| -> Vec<_> {
            drawn.iter().map(|drawn| drawn.json(identity)).collect()
        };
        let (own, hung) = (json(&self.identity, true), json(&self.resource, false));
        let mut caller = match self.name {
            "run" => session(self.account, &[]),
            name => caller(self.account, name, &[]),
        };
        if !own.is_empty() {
            let policies = vec![named(&own)];
            caller.policies = Arc::new(IdentityPolicies { policies });
        }
        let boundary = self.boundary.as_ref();
        caller.boundary = boundary.map(|drawn| named(&json(drawn, true)));
        if !self.session.is_empty() {
            let policies = self.session.iter().map(|drawn| named(&json(drawn, true)));
            let policies = policies.collect();
            caller.session_policies = Some(Arc::new(IdentityPolicies { policies }));
        }
        (caller, hung)
    }

    /// Adds a statement to the policies of one kind; to identity policies where the caller has no
    /// policy of that kind.
    fn add(&mut self, kind: PolicyKind, drawn: Drawn) {
        match (kind, &mut self.boundary, self.session.first_mut()) {
            (PolicyKind::Resource, _, _) => self.resource.push(drawn),
            (PolicyKind::Boundary, Some(boundary), _) => boundary.push(drawn),
            (PolicyKind::Session, _, Some(policy)) => policy.push(drawn),
            _ => self.identity.push(drawn),
        }
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

fn world() -> impl Strategy<Value = World> {
    let statements = |least| prop::collection::vec(drawn(), least..4);
    (
        prop::sample::select(vec![HOME, AWAY]),
        prop::sample::select(NAMES.to_vec()),
        statements(0),
        statements(0),
        prop::option::weighted(0.4, statements(1)),
        prop::collection::vec(statements(1), 0..3),
        prop::bool::weighted(0.4),
    )
        .prop_map(
            |(account, name, identity, resource, boundary, session, is_scoped)| World {
                account,
                name,
                identity,
                resource,
                boundary,
                session: if is_scoped { session } else { Vec::new() },
            },
        )
}

fn kind() -> impl Strategy<Value = PolicyKind> {
    prop::sample::select(vec![
        PolicyKind::Identity,
        PolicyKind::Resource,
        PolicyKind::Boundary,
        PolicyKind::Session,
    ])
}

proptest! {
    #[test]
    fn decisions_agree_with_the_oracle(world in world()) {
        prop_assert_eq!(world.decided().is_allow(), world.allows());
    }

    #[test]
    fn the_order_of_statements_and_policies_decides_nothing(mut world in world()) {
        let before = world.decided().is_allow();
        world.identity.reverse();
        world.resource.reverse();
        world.session.reverse();
        for statements in world.boundary.iter_mut().chain(&mut world.session) {
            statements.reverse();
        }
        prop_assert_eq!(world.decided().is_allow(), before);
    }

    #[test]
    fn one_more_allow_never_takes_away(
        mut world in world(), mut more in drawn(), kind in kind(),
    ) {
        let before = world.decided().is_allow();
        more.deny = false;
        world.add(kind, more);
        prop_assert!(!before || world.decided().is_allow());
    }

    #[test]
    fn one_more_deny_never_gives(
        mut world in world(), mut more in drawn(), kind in kind(),
    ) {
        let before = world.decided().is_allow();
        more.deny = true;
        world.add(kind, more);
        prop_assert!(before || !world.decided().is_allow());
    }

    /// The statement that decided applies, one of each effect decides at most, and no other kind of
    /// decision is explained than the one that is made.
    #[test]
    fn explanations_agree_with_decisions(world in world()) {
        let (caller, hung) = world.policies();
        let hung = (!hung.is_empty()).then(|| policy(Grammar::Repository, &hung));
        let arn = format!("arn:aws:ecr:us-east-1:{HOME}:repository/web");
        let arn: Arn = arn.parse().expect("an ARN");
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:PutImage",
            resource: Some(&arn),
            resource_account: account(HOME),
            context: ConditionContext { secure_transport: true, ..ConditionContext::default() },
            budget: &EvaluationBudget::default(),
        };
        let policies = PolicySet::of(&caller, hung.as_ref());
        let explained = Explainer::new(policies).explain(&request);
        prop_assert_eq!(&explained.decision, &world.decided());
        let applying = |effect| {
            let mut policies = explained.policies.iter();
            policies.any(|policy| policy.applying(effect).next().is_some())
        };
        match &explained.decision {
            Decision::Allow { by: Grant::AccountRoot } => prop_assert!(!applying(Effect::Deny)),
            Decision::Allow { by: Grant::Statement(by) } => {
                prop_assert!(!applying(Effect::Deny));
                let applies = explained.policies.iter().any(|policy| {
                    let mut allowing = policy.applying(Effect::Allow);
                    policy.kind == by.kind && allowing.any(|one| one.index == by.statement)
                });
                prop_assert!(applies);
            }
            Decision::Deny { reason: Denial::ExplicitDeny(by) } => {
                let applies = explained.policies.iter().any(|policy| {
                    let mut denying = policy.applying(Effect::Deny);
                    policy.kind == by.kind && denying.any(|one| one.index == by.statement)
                });
                prop_assert!(applies);
            }
            Decision::Deny { reason: Denial::NoAllow(kind) } => {
                prop_assert!(!applying(Effect::Deny));
                let allows = explained.policies.iter().filter(|policy| policy.kind == *kind);
                let mut allows = allows.flat_map(|policy| policy.applying(Effect::Allow));
                prop_assert!(allows.all(|one| one.applicability == Applicability::Delegates));
            }
            Decision::Deny { reason: Denial::Limit(_) } => prop_assert!(false),
        }
    }

    #[test]
    fn a_deny_that_applies_wins(
        mut world in world(), mut deny in drawn(), kind in kind(),
    ) {
        deny.deny = true;
        deny.principals = vec![0];
        prop_assume!(deny.speaks(true) && deny.speaks(false));
        // Identity policies do not apply to a root.
        prop_assume!(world.name != "root" || kind == PolicyKind::Resource);
        world.add(kind, deny);
        let is_denied = matches!(
            world.decided(),
            Decision::Deny { reason: Denial::ExplicitDeny(_) }
        );
        prop_assert!(is_denied);
    }
}
