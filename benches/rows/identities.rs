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

/// Who sends requests.
#[derive(Clone, Copy)]
enum Active {
    One,
    All,
}

impl Active {
    /// How many of these users send requests.
    const fn count(self, users: usize) -> usize {
        match self {
            Self::One => 1,
            Self::All => users,
        }
    }
}

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

    /// A request of each user that is active.
    fn requests(&self, active: Active) -> Vec<Request> {
        let request = |key| ecr_call(key, "DescribeRepositories", "{}".into());
        let count = active.count(self.keys.len());
        self.keys.iter().take(count).map(request).collect()
    }

    /// Measures the requests of these users, which come in turn.
    fn measure(&self, bench: &Bench, active: Active) -> anyhow::Result<Line> {
        let requests = self.requests(active);
        let mut samples = Vec::new();
        for _ in 0..bench.arguments.rounds {
            let mut number = 0;
            let mut script = Made(|| {
                number += 1;
                requests.get(number % requests.len()).cloned()
            });
            let load = bench.arguments.load(CONNECTIONS);
            samples.push(Sample::take(self.server, load, &mut script)?);
        }
        Ok(Line {
            active: requests.len(),
            has: self.has,
            sample: Sample::median(&samples),
        })
    }
}

/// What was measured of an account.
struct Line {
    active: usize,
    has: Count,
    sample: Sample,
}

impl Line {
    /// The columns; costs are compared with those of `few`.
    fn columns(&self, few: &Self) -> Vec<String> {
        let Self { has, sample, .. } = self;
        vec![
            self.active.to_string(),
            has.users.to_string(),
            has.roles.to_string(),
            has.policies.to_string(),
            digits(sample.rate),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
            ratio(sample.cpu_us, Some(few.sample.cpu_us)),
        ]
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
    account.grow(FEW)?;
    let one_of_few = account.measure(bench, Active::One)?;
    let all_of_few = account.measure(bench, Active::All)?;
    account.grow(MANY)?;
    let one_of_many = account.measure(bench, Active::One)?;
    let all_of_many = account.measure(bench, Active::All)?;
    let verdict = |what: &str, many: &Line, few: &Line| {
        let times = many.sample.cpu_us / few.sample.cpu_us;
        Verdict::at_most(what, " times", times, LIMIT)
    };
    Ok(Section {
        title: "Requests among many identities".into(),
        how: format!(
            "{CONNECTIONS} connections, signed DescribeRepositories of one user or of all in turn; \
             each has one customer managed policy. A line is compared with that of as many among \
             10 users."
        ),
        header: vec![
            "active",
            "users",
            "roles",
            "policies",
            "per second",
            "p99 ms",
            "CPU µs",
            "÷ few",
        ],
        lines: vec![
            one_of_few.columns(&one_of_few),
            one_of_many.columns(&one_of_few),
            all_of_few.columns(&all_of_few),
            all_of_many.columns(&all_of_few),
        ],
        verdicts: vec![
            verdict(
                "CPU of a request of one user among 1,000, against 10",
                &one_of_many,
                &one_of_few,
            ),
            verdict(
                "CPU of a request of 1,000 users in turn, against 10",
                &all_of_many,
                &all_of_few,
            ),
        ],
    })
}
