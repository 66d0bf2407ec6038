//! Versions of Alpine packages. PURE.
//!
//! Source: Alpine wiki, "APKBUILD Reference" (pkgver), and apk-tools, `apk-package(5)`:
//! `number{.number}[letter]{_suffix[number]}[~hash][-rN]`.

use std::cmp::Ordering;

use crate::versions::{compare_numbers, split_digits};

/// The suffixes in their order; a version without one comes between `rc` and `cvs`.
const SUFFIXES: &[&str] = &[
    "alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p",
];

struct ApkVersion<'a> {
    numbers: Vec<&'a str>,
    letter: Option<char>,
    suffixes: Vec<(usize, &'a str)>,
    revision: &'a str,
}

/// Compares two versions; `None` where one is malformed.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parse(a)?, parse(b)?);
    let order = numbers(&a.numbers, &b.numbers);
    let order = order.then_with(|| a.letter.cmp(&b.letter));
    let order = order.then_with(|| suffixes(&a.suffixes, &b.suffixes));
    Some(order.then_with(|| compare_numbers(a.revision, b.revision)))
}

fn parse(text: &str) -> Option<ApkVersion<'_>> {
    let text = text.trim();
    let (text, revision) = match text.rsplit_once("-r") {
        Some((text, revision)) => (text, revision),
        None => (text, "0"),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if revision.is_empty() || !digits(revision) {
        return None;
    }
    // A commit names the build and has no order.
    let text = text.split('~').next()?;
    let (mut number, mut rest) = split_digits(text);
    if number.is_empty() {
        return None;
    }
    let mut numbers = vec![number];
    while let Some(after) = rest.strip_prefix('.') {
        (number, rest) = split_digits(after);
        if number.is_empty() {
            return None;
        }
        numbers.push(number);
    }
    let letter = rest.chars().next().filter(char::is_ascii_lowercase);
    rest = &rest[letter.map_or(0, char::len_utf8)..];
    let mut suffixes = Vec::new();
    while let Some(after) = rest.strip_prefix('_') {
        let end = after
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let rank = SUFFIXES
            .iter()
            .position(|suffix| *suffix == name && !name.is_empty())?;
        (number, rest) = split_digits(after);
        suffixes.push((rank, number));
    }
    rest.is_empty().then_some(ApkVersion {
        numbers,
        letter,
        suffixes,
        revision,
    })
}

/// The first number is a number; the others are fractions where they begin with a zero.
fn numbers(a: &[&str], b: &[&str]) -> Ordering {
    for (index, (one, other)) in a.iter().zip(b).enumerate() {
        let fraction = index > 0 && (one.starts_with('0') || other.starts_with('0'));
        let order = if fraction {
            one.cmp(other)
        } else {
            compare_numbers(one, other)
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn suffixes(a: &[(usize, &str)], b: &[(usize, &str)]) -> Ordering {
    let none = (
        SUFFIXES
            .iter()
            .position(|suffix| suffix.is_empty())
            .unwrap_or_default(),
        "",
    );
    for index in 0..a.len().max(b.len()) {
        let (one, other) = (a.get(index).unwrap_or(&none), b.get(index).unwrap_or(&none));
        let order = one
            .0
            .cmp(&other.0)
            .then_with(|| compare_numbers(one.1, other.1));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}
