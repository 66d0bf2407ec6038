//! Numbers to Markdown: samples and their medians, the table of a row, the verdicts on the targets.

use std::fmt::Write as _;

use super::load::{self, Load, Outcome, Target};
use super::request::Script;
use super::server::Server;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// One measurement of one server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Counted responses in a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) longest_ms: f64,
    /// Server's processor time for one counted response, in microseconds.
    pub(crate) cpu_us: f64,
    /// Throughput of bodies, in MB (10^6 bytes) a second.
    pub(crate) mb_per_s: f64,
    /// Server's processor seconds for one GiB of bodies.
    pub(crate) cpu_s_per_gib: f64,
    pub(crate) peak_mb: f64,
}

impl Sample {
    /// Reads a run; `bytes` are the bodies' bytes that went either way.
    fn of(mut outcome: Outcome, bytes: f64, peak_mb: f64) -> Self {
        let (seconds, cpu) = (outcome.elapsed.as_secs_f64(), outcome.cpu.as_secs_f64());
        let responses = (outcome.tally.responses as f64).max(1.0);
        Self {
            rate: outcome.tally.responses as f64 / seconds,
            p50_ms: outcome.tally.latencies.percentile_ms(0.5),
            p99_ms: outcome.tally.latencies.percentile_ms(0.99),
            longest_ms: outcome.tally.latencies.percentile_ms(1.0),
            cpu_us: cpu * 1e6 / responses,
            mb_per_s: bytes / 1e6 / seconds,
            cpu_s_per_gib: cpu / (bytes / GIB),
            peak_mb,
        }
    }

    /// Loads `server`; throughput is that of the bytes read.
    pub(crate) fn take(
        server: &Server,
        load: Load,
        script: &mut dyn Script,
    ) -> anyhow::Result<Self> {
        server.process.reset_peak();
        let outcome = server.run(load, script)?;
        let bytes = outcome.tally.bytes as f64;
        Ok(Self::of(outcome, bytes, server.process.peak_rss_mb()))
    }

    /// Loads several servers at once; memory is not measured.
    pub(crate) fn take_from(
        targets: &[Target<'_>],
        load: Load,
        script: &mut dyn Script,
    ) -> anyhow::Result<Self> {
        let outcome = load::run(targets, load, script)?;
        let bytes = outcome.tally.bytes as f64;
        Ok(Self::of(outcome, bytes, 0.0))
    }

    /// Loads `server` with pushes of `bytes` in all.
    pub(crate) fn take_pushes(
        server: &Server,
        load: Load,
        script: &mut dyn Script,
        bytes: usize,
    ) -> anyhow::Result<Self> {
        server.process.reset_peak();
        let outcome = server.run(load, script)?;
        Ok(Self::of(
            outcome,
            bytes as f64,
            server.process.peak_rss_mb(),
        ))
    }

    /// Each figure's median; the peak is the highest.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> f64| median(samples.iter().map(figure).collect());
        Self {
            rate: middle(|s| s.rate),
            p50_ms: middle(|s| s.p50_ms),
            p99_ms: middle(|s| s.p99_ms),
            longest_ms: middle(|s| s.longest_ms),
            cpu_us: middle(|s| s.cpu_us),
            mb_per_s: middle(|s| s.mb_per_s),
            cpu_s_per_gib: middle(|s| s.cpu_s_per_gib),
            peak_mb: samples.iter().map(|s| s.peak_mb).fold(0.0, f64::max),
        }
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A figure with about three digits.
pub(crate) fn digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// A ratio, or a dash where there is nothing to compare with.
pub(crate) fn ratio(figure: f64, reference: Option<f64>) -> String {
    reference.filter(|reference| *reference > 0.0).map_or_else(
        || "-".into(),
        |reference| format!("{:.2}", figure / reference),
    )
}

/// What a row has to say.
pub(crate) struct Section {
    pub(crate) title: String,
    /// What was run, in a sentence or two.
    pub(crate) how: String,
    pub(crate) header: Vec<&'static str>,
    pub(crate) lines: Vec<Vec<String>>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// One target of the project, and what came out.
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

impl Verdict {
    /// A figure that must not exceed `most`.
    pub(crate) fn at_most(what: impl Into<String>, unit: &str, measured: f64, most: f64) -> Self {
        let words = |figure: f64| format!("{}{unit}", digits(figure));
        Self {
            what: what.into(),
            target: format!("at most {}", words(most)),
            measured: words(measured),
            met: measured <= most,
        }
    }

    /// A figure that must reach `least`.
    pub(crate) fn at_least(what: impl Into<String>, unit: &str, measured: f64, least: f64) -> Self {
        let words = |figure: f64| format!("{}{unit}", digits(figure));
        Self {
            what: what.into(),
            target: format!("at least {}", words(least)),
            measured: words(measured),
            met: measured >= least,
        }
    }
}

impl Section {
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.title, self.how);
        table(&mut text, &self.header, &self.lines);
        text
    }
}

/// The verdicts of all sections, in one table.
pub(crate) fn verdicts(sections: &[Section]) -> String {
    let mut text = String::from("### Targets\n\n");
    let line = |verdict: &Verdict| {
        let met = if verdict.met { "yes" } else { "**no**" };
        vec![
            verdict.what.clone(),
            verdict.target.clone(),
            verdict.measured.clone(),
            met.into(),
        ]
    };
    let lines: Vec<_> = sections
        .iter()
        .flat_map(|section| &section.verdicts)
        .map(line)
        .collect();
    table(&mut text, &["what", "target", "measured", "met"], &lines);
    text
}

fn table(text: &mut String, header: &[&str], lines: &[Vec<String>]) {
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(header.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text.push('\n');
}
