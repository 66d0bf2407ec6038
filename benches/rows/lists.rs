//! Pages of long listings, at their beginning, middle and end.

use crate::Bench;
use crate::support::content::{self, BIG};
use crate::support::report::{Sample, Section, Verdict, digits};
use crate::support::scripts::Same;

const PAGE: u64 = 100;

/// Most milliseconds for a page.
const LIMIT_MS: f64 = 2.0;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let (server, scale) = (&bench.ours, bench.arguments.scale);
    let tags = |after: Option<u64>| {
        let last = after
            .map(|number| format!("&last={}", content::big_tag(number)))
            .unwrap_or_default();
        format!("/v2/{BIG}/tags/list?n={PAGE}{last}")
    };
    let repositories = |after: Option<u64>| {
        let last = after
            .map(|number| format!("&last={}", content::repository_name(number)))
            .unwrap_or_default();
        format!("/v2/_catalog?n={PAGE}{last}")
    };
    let pages = [
        ("tags/list", scale.big_tags, "first", tags(None)),
        (
            "tags/list",
            scale.big_tags,
            "middle",
            tags(Some(scale.big_tags / 2)),
        ),
        (
            "tags/list",
            scale.big_tags,
            "last",
            tags(Some(scale.big_tags - PAGE - 1)),
        ),
        (
            "_catalog",
            scale.repositories + 1,
            "first",
            repositories(None),
        ),
        (
            "_catalog",
            scale.repositories + 1,
            "middle",
            repositories(Some(scale.repositories / 2)),
        ),
        (
            "_catalog",
            scale.repositories + 1,
            "last",
            repositories(Some(scale.repositories - PAGE - 1)),
        ),
    ];
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for (what, total, place, path) in pages {
        let request = server.request("GET", &path, 200);
        let page = server.must(&request)?.body;
        // Each name stands in quotes; the keys of the response and the repository's own name are
        // the
        // few others.
        let names = String::from_utf8_lossy(&page).matches('"').count() / 2;
        anyhow::ensure!(names as u64 >= PAGE, "{path} returned {names} names");
        let samples = (0..bench.arguments.rounds)
            .map(|_| Sample::take(server, bench.arguments.load(1), &mut Same(request.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let sample = Sample::median(&samples);
        lines.push(vec![
            what.into(),
            total.to_string(),
            place.into(),
            server.terms.into(),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
        ]);
        verdicts.push(Verdict::at_most(
            format!("{what}, {place} page of {PAGE}"),
            " ms",
            sample.p50_ms,
            LIMIT_MS,
        ));
    }
    Ok(Section {
        title: "Pages of listings".into(),
        how: format!(
            "One connection, pages of {PAGE}; wharfinger alone (the peers' times at a tenth of the \
             size are in the hundreds of milliseconds)."
        ),
        header: vec![
            "listing",
            "of",
            "page",
            "terms",
            "p50 ms",
            "p99 ms",
            "CPU µs/page",
        ],
        lines,
        verdicts,
    })
}
