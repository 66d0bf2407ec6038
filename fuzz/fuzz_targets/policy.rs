//! Parses IAM policy documents and the scopes of tokens.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_iam::{Grammar, Policy, TokenScopes};

fuzz_target!(|text: &str| {
    let _ = Policy::parse(text, Grammar::Identity);
    let _ = Policy::parse(text, Grammar::Repository);
    let _ = Policy::parse(text, Grammar::Registry);
    let _ = TokenScopes::parse(text);
});
