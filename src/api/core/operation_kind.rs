//! Whether an operation only reads, as its name tells. PURE.

/// How the names of operations that change nothing begin. A session of a role is stored nowhere.
const READING: [&str; 7] = [
    "Describe",
    "List",
    "Get",
    "BatchGet",
    "BatchCheck",
    "Simulate",
    "DecodeAuthorizationMessage",
];

/// Whether the operation of this name changes nothing.
#[must_use]
pub(crate) const fn reads(name: &str) -> bool {
    let mut at = 0;
    while at < READING.len() {
        if starts_with(name.as_bytes(), READING[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `starts_with` for constants.
const fn starts_with(name: &[u8], start: &[u8]) -> bool {
    if name.len() < start.len() {
        return false;
    }
    let mut at = 0;
    while at < start.len() {
        if name[at] != start[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_reads() {
        for (name, expected) in [
            ("DescribeImages", true),
            ("BatchCheckLayerAvailability", true),
            ("SimulateCustomPolicy", true),
            ("BatchDeleteImage", false),
            ("PutImage", false),
            ("AssumeRole", false),
            ("Ge", false),
            ("", false),
        ] {
            assert_eq!(reads(name), expected, "{name}");
        }
    }
}
