//! Advisories in OSV format, reduced to what findings need and what the index may hold.
//!
//! Source: ossf.github.io/osv-schema, version 1.7.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::package::normal_python_name;
use crate::versions::VersionOrder;

/// The largest document, in bytes. Those of Linux kernels take 2 MiB.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 32 * 1024 * 1024;
/// The longest description that is kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 4000;
/// The most references, aliases and the like that are kept of one document.
const MAX_LIST: usize = 50;
/// The longest identifier or name, in bytes. One with a NUL could not be stored.
const MAX_NAME_BYTES: usize = 512;

#[derive(Deserialize)]
struct Document {
    id: String,
    #[serde(default)]
    modified: String,
    #[serde(default)]
    published: Option<String>,
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    severity: Vec<OsvSeverity>,
    #[serde(default)]
    affected: Vec<DocumentAffected>,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct DocumentAffected {
    package: Option<OsvPackage>,
    #[serde(default)]
    severity: Vec<OsvSeverity>,
    #[serde(default)]
    ranges: Vec<OsvRange>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    ecosystem_specific: Value,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct OsvPackage {
    ecosystem: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct OsvSeverity {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

/// Where a vulnerability is described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    pub(crate) url: String,
}

/// A range of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OsvRange {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) events: Vec<RangeEvent>,
}

/// A version from which on something is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RangeEvent {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    Limit(String),
}

/// Which versions of a package are affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Affected {
    pub(crate) ranges: Vec<OsvRange>,
    pub(crate) versions: Vec<String>,
}

/// What one advisory says about one package of one ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AdvisoryEntry {
    pub(crate) id: String,
    pub(crate) modified: String,
    pub(crate) published: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) description: String,
    /// The modules of RPM that it is about, with their streams: `nodejs:18`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) modules: Vec<String>,
    /// CVSS vectors, those of the package first.
    pub(crate) vectors: Vec<String>,
    /// The severity in words.
    pub(crate) word: Option<String>,
    pub(crate) references: Vec<Reference>,
    pub(crate) affected: Vec<Affected>,
}

/// An entry with the key under which it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyedEntry {
    pub(crate) ecosystem: String,
    pub(crate) package: String,
    pub(crate) entry: AdvisoryEntry,
}

/// The name under which the index has a package.
pub(crate) fn package_key(ecosystem: &str, name: &str) -> String {
    if ecosystem == "PyPI" {
        normal_python_name(name)
    } else {
        name.to_owned()
    }
}

/// Reads a document: an entry for each package that it is about, of ecosystems whose order of
/// versions is known. A withdrawn advisory has none.
///
/// # Errors
/// What is wrong with the document.
pub(crate) fn read_document(bytes: &[u8]) -> Result<Vec<KeyedEntry>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let is_name =
        |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains('\0');
    if !is_name(&document.id) {
        return Err("the advisory has no usable id".to_owned());
    }
    if document.withdrawn.is_some() {
        return Ok(Vec::new());
    }
    let mut found: Vec<KeyedEntry> = Vec::new();
    for affected in &document.affected {
        let Some(package) = &affected.package else {
            continue;
        };
        let usable = is_name(&package.name)
            && is_name(&package.ecosystem)
            && VersionOrder::of_ecosystem(&package.ecosystem).is_some();
        if !usable {
            continue;
        }
        let key = package_key(&package.ecosystem, &package.name);
        let ranges = affected.ranges.iter().filter(|range| range.kind != "GIT");
        let versions = Affected {
            ranges: ranges.cloned().collect(),
            versions: affected.versions.clone(),
        };
        let known = found
            .iter_mut()
            .find(|one| one.ecosystem == package.ecosystem && one.package == key);
        if let Some(known) = known {
            known.entry.affected.push(versions);
            continue;
        }
        let mut entry = document.entry(affected);
        entry.affected.push(versions);
        found.push(KeyedEntry {
            ecosystem: package.ecosystem.clone(),
            package: key,
            entry,
        });
    }
    Ok(found)
}

impl Document {
    /// What the advisory says about one of its packages, without the versions.
    fn entry(&self, affected: &DocumentAffected) -> AdvisoryEntry {
        let severities = || affected.severity.iter().chain(&self.severity);
        let vectors = severities().filter(|one| one.kind.starts_with("CVSS_V"));
        let other = severities().find(|one| !one.kind.starts_with("CVSS_V"));
        let text = |value: &Value, key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let word = other
            .map(|one| one.score.clone())
            .or_else(|| text(&affected.ecosystem_specific, "severity"))
            .or_else(|| text(&affected.ecosystem_specific, "urgency"))
            .or_else(|| text(&affected.database_specific, "severity"))
            .or_else(|| text(&self.database_specific, "severity"));
        let summary = self.summary.as_deref().unwrap_or_default();
        let details = self.details.as_deref().unwrap_or_default();
        let description = if details.is_empty() { summary } else { details };
        // An advisory of a distribution about one vulnerability is another name of it; one about
        // several is not.
        let upstream = match self.upstream.as_slice() {
            [one] => std::slice::from_ref(one),
            _ => &[],
        };
        let aliases = self.aliases.iter().chain(upstream);
        AdvisoryEntry {
            id: self.id.clone(),
            modified: self.modified.clone(),
            published: self.published.clone(),
            aliases: aliases.take(MAX_LIST).cloned().collect(),
            description: description.chars().take(MAX_DESCRIPTION_CHARS).collect(),
            modules: modules_in(summary).take(MAX_LIST).collect(),
            vectors: vectors
                .take(MAX_LIST)
                .map(|one| one.score.clone())
                .collect(),
            word,
            references: self.references.iter().take(MAX_LIST).cloned().collect(),
            affected: Vec::new(),
        }
    }
}

/// The words of a summary that name a module and its stream, as in "Important: nodejs:18 security
/// update".
fn modules_in(summary: &str) -> impl Iterator<Item = String> {
    let words = summary
        .split_whitespace()
        .map(|word| word.trim_matches([',', ';', '(', ')']));
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
    };
    let modules = words.filter(move |word| {
        let parts = word.split_once(':');
        parts.is_some_and(|(name, stream)| is_name(name) && is_name(stream))
    });
    modules.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_an_entry_for_each_package() {
        let text = r#"{"id": "DSA-1", "modified": "2024-01-01T00:00:00Z", "upstream": ["CVE-1"],
            "details": "bad", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/x"}],
            "affected": [
                {"package": {"ecosystem": "Debian:12", "name": "openssl"},
                 "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]},
                            {"type": "GIT", "events": [{"introduced": "abc"}]}],
                 "ecosystem_specific": {"urgency": "low"}},
                {"package": {"ecosystem": "Debian:12", "name": "openssl"}, "versions": ["1"]},
                {"package": {"ecosystem": "PyPI", "name": "Foo_Bar"}},
                {"package": {"ecosystem": "Unknown", "name": "x"}},
                {"package": {"ecosystem": "npm", "name": "x\u0000"}},
                {"ranges": []}]}"#;
        let found = read_document(text.as_bytes()).expect("a document");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].ecosystem.as_str(), found[0].package.as_str()),
            ("Debian:12", "openssl")
        );
        let entry = &found[0].entry;
        assert_eq!(entry.aliases, ["CVE-1"]);
        assert_eq!(
            (entry.word.as_deref(), entry.description.as_str()),
            (Some("low"), "bad")
        );
        assert_eq!(entry.vectors, ["CVSS:3.1/x"]);
        assert_eq!(entry.affected.len(), 2);
        let events = &entry.affected[0].ranges[0].events;
        assert_eq!(events[1], RangeEvent::Fixed("2".into()));
        assert_eq!(entry.affected[0].ranges.len(), 1, "commits are no versions");
        assert_eq!(found[1].package, "foo-bar");
    }

    #[test]
    fn summaries_name_modules() {
        let of = |text: &str| modules_in(text).collect::<Vec<_>>();
        assert_eq!(of("Important: nodejs:18 security update"), ["nodejs:18"]);
        assert_eq!(
            of("Moderate: virt:rhel and virt-devel:rhel security, bug fix"),
            ["virt:rhel", "virt-devel:rhel"]
        );
        assert!(of("Important: openssl security update").is_empty());
    }

    #[test]
    fn withdrawn_advisories_say_nothing_and_malformed_ones_are_errors() {
        let withdrawn = br#"{"id": "A", "withdrawn": "2024-01-01T00:00:00Z",
            "affected": [{"package": {"ecosystem": "npm", "name": "x"}}]}"#;
        assert_eq!(read_document(withdrawn), Ok(Vec::new()));
        for malformed in [
            "",
            "[]",
            "{}",
            r#"{"id": ""}"#,
            r#"{"id": "A\u0000"}"#,
            r#"{"id": "A", "affected": 1}"#,
        ] {
            assert!(read_document(malformed.as_bytes()).is_err(), "{malformed}");
        }
    }
}
