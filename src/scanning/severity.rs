//! How severe a vulnerability is: from CVSS vectors, or from the words of those who publish
//! advisories. PURE.

use std::str::FromStr as _;

use cvss::Cvss;
use serde::{Deserialize, Serialize};

/// The severities of findings, the least severe first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum FindingSeverity {
    #[default]
    Undefined,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl FindingSeverity {
    pub const ALL: [Self; 6] = [
        Self::Undefined,
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => "UNDEFINED",
            Self::Informational => "INFORMATIONAL",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }

    /// Its place in the order, for storage.
    pub fn rank(self) -> u8 {
        match self {
            Self::Undefined => 0,
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }

    /// The severity of a base score, by the scale of CVSS 3 and 4.
    fn of_score(score: f64) -> Self {
        if score <= 0.0 {
            Self::Informational
        } else if score < 4.0 {
            Self::Low
        } else if score < 7.0 {
            Self::Medium
        } else if score < 9.0 {
            Self::High
        } else {
            Self::Critical
        }
    }

    /// The severity that a word names: of GitHub, Debian's urgency, Ubuntu's priority, and the
    /// ratings of Red Hat and SUSE.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" => Self::Low,
            "unimportant" | "negligible" | "informational" | "none" => Self::Informational,
            _ => return None,
        })
    }
}

/// A CVSS vector with its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvssScore {
    /// `2.0`, `3.0`, `3.1` or `4.0`.
    pub version: String,
    pub vector: String,
    pub score: f64,
}

impl CvssScore {
    /// The score of a vector; `None` where it is malformed.
    pub(crate) fn of_vector(vector: &str) -> Option<Self> {
        let parsed = Cvss::from_str(vector.trim()).ok()?;
        let version = match parsed {
            Cvss::CvssV20(_) => "2.0",
            Cvss::CvssV30(_) => "3.0",
            Cvss::CvssV31(_) => "3.1",
            Cvss::CvssV40(_) => "4.0",
            _ => return None,
        };
        Some(Self {
            version: version.to_owned(),
            vector: vector.trim().to_owned(),
            score: (parsed.score() * 10.0).round() / 10.0,
        })
    }

    pub(crate) fn severity(&self) -> FindingSeverity {
        FindingSeverity::of_score(self.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_the_published_scores() {
        // Examples of the CVSS specifications of FIRST.
        let known = [
            (
                "AV:N/AC:L/Au:N/C:N/I:N/A:C",
                "2.0",
                7.8,
                FindingSeverity::High,
            ),
            (
                "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                "3.0",
                9.8,
                FindingSeverity::Critical,
            ),
            (
                "CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L",
                "3.1",
                2.5,
                FindingSeverity::Low,
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                "4.0",
                9.3,
                FindingSeverity::Critical,
            ),
        ];
        for (vector, version, score, severity) in known {
            let found = CvssScore::of_vector(vector).expect(vector);
            assert_eq!(
                (found.version.as_str(), found.severity()),
                (version, severity)
            );
            assert!(
                (found.score - score).abs() < 0.05,
                "{vector}: {}",
                found.score
            );
        }
        for malformed in ["", "CVSS:3.1/AV:X", "CVSS:9.9/AV:N", "high"] {
            assert_eq!(CvssScore::of_vector(malformed), None);
        }
    }

    #[test]
    fn words_name_severities() {
        assert_eq!(
            FindingSeverity::of_word("MODERATE"),
            Some(FindingSeverity::Medium)
        );
        assert_eq!(
            FindingSeverity::of_word("unimportant"),
            Some(FindingSeverity::Informational)
        );
        assert_eq!(FindingSeverity::of_word("not yet assigned"), None);
        let ranks: Vec<_> = FindingSeverity::ALL.iter().map(|one| one.rank()).collect();
        assert_eq!(ranks, [0, 1, 2, 3, 4, 5]);
    }
}
