//! The cost of a decision among few and among many users, roles and policies.

use anyhow::Context;

use crate::Bench;
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::request::Request;
use crate::support::scripts::Made;
use crate::support::server::Server;
use crate::support::sign::{AccessKey, ecr_call, query_call};
use crate::support::wharfinger;

const CONNECTIONS: usize = 32;

/// How many users, roles and policies there are.
#[derive(Clone, Copy)]
struct Count {
    users: usize,
    roles: usize,
    policies: usize,
}

const FEW: Count = Count {
    users: 10,
    roles: 10,
    policies: 10,
};
const MANY: Count = Count {
    users: 1_000,
    roles: 200,
    policies: 500,
};

/// Most times that a request may cost more among many.
const LIMIT: f64 = 1.3;

const TRUST_POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
  "Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}"#;
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
  "Action":"ecr:DescribeRepositories","Resource":"*"}}"#;

/// An account that grows.
struct Account<'a> {
    server: &'a Server,
    root: AccessKey,
    has: Count,
    keys: Vec<AccessKey>,
}

impl Account<'_> {
    fn call(&self, action: &str, members: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).extend_pairs(members);
        let response = self
            .server
            .must(&query_call(&self.root, "iam", form.finish()))?;
        Ok(String::from_utf8(response.body)?)
    }

    /// Makes what is missing. Each user has a key, and a customer managed policy that allows the
    /// measured operation.
    fn grow(&mut self, wanted: Count) -> anyhow::Result<()> {
        for number in self.has.policies..wanted.policies {
            let name = format!("policy-{number}");
            self.call(
                "CreatePolicy",
                &[("PolicyName", &name), ("PolicyDocument", POLICY)],
            )?;
        }
        for number in self.has.roles..wanted.roles {
            let name = format!("role-{number}");
            let trust = ("AssumeRolePolicyDocument", TRUST_POLICY);
            self.call("CreateRole", &[("RoleName", &name), trust])?;
        }
        for number in self.has.users..wanted.users {
            let (name, policy) = (format!("user-{number}"), number % wanted.policies);
            let arn = format!("arn:aws:iam::123456789012:policy/policy-{policy}");
            self.call("CreateUser", &[("UserName", &name)])?;
            self.call(
                "AttachUserPolicy",
                &[("UserName", &name), ("PolicyArn", &arn)],
            )?;
            let made = self.call("CreateAccessKey", &[("UserName", &name)])?;
            self.keys.push(AccessKey {
                id: element(&made, "AccessKeyId")?,
                secret: element(&made, "SecretAccessKey")?,
                region: self.root.region.clone(),
            });
        }
        self.has = wanted;
        Ok(())
    }

    /// A request of each user.
    fn requests(&self) -> Vec<Request> {
        let request = |key| ecr_call(key, "DescribeRepositories", "{}".into());
        self.keys.iter().map(request).collect()
    }
}

fn element(document: &str, name: &str) -> anyhow::Result<String> {
    let (_, rest) = document
        .split_once(&format!("<{name}>"))
        .with_context(|| format!("no {name} was given"))?;
    Ok(rest.split('<').next().unwrap_or_default().to_owned())
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let (server, root) = wharfinger::start_with_root(&bench.folder.join("identities"))?;
    let mut account = Account {
        server: &server,
        root,
        has: Count {
            users: 0,
            roles: 0,
            policies: 0,
        },
        keys: Vec::new(),
    };
    let mut measured = Vec::new();
    for wanted in [FEW, MANY] {
        account.grow(wanted)?;
        let requests = account.requests();
        let mut samples = Vec::new();
        for _ in 0..bench.arguments.rounds {
            let mut number = 0;
            let mut script = Made(|| {
                number += 1;
                requests.get(number % requests.len()).cloned()
            });
            let load = bench.arguments.load(CONNECTIONS);
            samples.push(Sample::take(&server, load, &mut script)?);
        }
        measured.push((wanted, Sample::median(&samples)));
    }
    let few = measured[0].1.cpu_us;
    let lines = measured.iter().map(|(count, sample)| {
        vec![
            count.users.to_string(),
            count.roles.to_string(),
            count.policies.to_string(),
            digits(sample.rate),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
            ratio(sample.cpu_us, Some(few)),
        ]
    });
    let many = measured[1].1.cpu_us;
    Ok(Section {
        title: "Requests among many identities".into(),
        how: format!(
            "{CONNECTIONS} connections, signed DescribeRepositories of all users in turn; each has \
             one customer managed policy."
        ),
        header: vec![
            "users",
            "roles",
            "policies",
            "per second",
            "p99 ms",
            "CPU µs",
            "÷ few",
        ],
        lines: lines.collect(),
        verdicts: vec![Verdict::at_most(
            "CPU of a request among 1,000 users, against 10",
            " times",
            many / few,
            LIMIT,
        )],
    })
}
