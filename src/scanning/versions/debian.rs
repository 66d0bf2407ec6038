//! Versions of Debian packages. PURE.
//!
//! Source: Debian policy, 5.6.12. The library for it brings a second library of time, which the
//! project bans.

use std::cmp::Ordering;

use crate::versions::{compare_numbers, split_digits};

/// Compares epoch, upstream version and revision.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parts(a)?, parts(b)?);
    let order = compare_numbers(a.0, b.0);
    Some(
        order
            .then_with(|| compare_part(a.1, b.1))
            .then_with(|| compare_part(a.2, b.2)),
    )
}

/// `[epoch:]upstream[-revision]`.
fn parts(version: &str) -> Option<(&str, &str, &str)> {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let numeric = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    (numeric && !upstream.is_empty() && version.is_ascii()).then_some((epoch, upstream, revision))
}

/// Compares by turns what are no digits, and numbers.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split_text(a);
        let (text_b, rest_b) = split_text(b);
        let order = compare_text(text_a, text_b);
        let (number_a, rest_a) = split_digits(rest_a);
        let (number_b, rest_b) = split_digits(rest_b);
        let order = order.then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn split_text(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// `~` comes before the end, the end before letters, letters before anything else.
fn compare_text(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    };
    let (mut a, mut b) = (a.bytes(), b.bytes());
    loop {
        let (one, other) = (a.next(), b.next());
        let order = weight(one).cmp(&weight(other));
        if order.is_ne() || (one.is_none() && other.is_none()) {
            return order;
        }
    }
}
