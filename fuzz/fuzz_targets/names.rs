//! Parses digests, repository names, tags, references and ARNs. Accepted text is formatted
//! unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_oci::{Digest, Reference, RepositoryName, Tag};

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_stored(&digest.to_stored()), Some(digest));
    }
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains("..") && !text.contains("//") && text.len() <= 256);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= 128);
    }
    let _ = text.parse::<Reference>();
    let _ = (text.parse::<AccountId>(), text.parse::<Region>());
    if let Ok(arn) = text.parse::<Arn>() {
        assert_eq!(arn.as_str(), text);
    }
});
