//! Sessions of roles: `AssumeRole`, plain and with session policies and tags.

use crate::Bench;
use crate::support::report::{Sample, Section, Verdict, digits};
use crate::support::scripts::Same;
use crate::support::sign::query_call;
use crate::support::wharfinger;

const CONNECTIONS: usize = 32;

/// Fewest sessions in a second.
const LIMIT: f64 = 1_000.0;

const SESSION_POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
  "Action":["ecr:GetAuthorizationToken","ecr:BatchGetImage"],"Resource":"*"}}"#;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let (server, key) = wharfinger::start_with_role(&bench.folder.join("sessions"))?;
    let form = |more: &[(&str, &str)]| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole")
            .append_pair("RoleArn", "arn:aws:iam::123456789012:role/bench")
            .append_pair("RoleSessionName", "bench")
            .extend_pairs(more);
        query_call(&key, "sts", form.finish())
    };
    let cases = [
        ("AssumeRole", form(&[])),
        (
            "AssumeRole with session policy and tag",
            form(&[
                ("Policy", SESSION_POLICY),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "red"),
            ]),
        ),
    ];
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for (what, request) in cases {
        server.must(&request)?;
        let samples = (0..bench.arguments.rounds)
            .map(|_| {
                let load = bench.arguments.load(CONNECTIONS);
                Sample::take(&server, load, &mut Same(request.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let sample = Sample::median(&samples);
        lines.push(vec![
            what.into(),
            digits(sample.rate),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
        ]);
        verdicts.push(Verdict::at_least(what, "/s", sample.rate, LIMIT));
    }
    Ok(Section {
        title: "Sessions of roles".into(),
        how: format!(
            "{CONNECTIONS} connections, signed requests of one user, each verified; a trust policy \
             that names the account, and an identity policy."
        ),
        header: vec!["request", "per second", "p50 ms", "p99 ms", "CPU µs"],
        lines,
        verdicts,
    })
}
