//! Tests of the orders: ascending lists from the rules that each ecosystem publishes, and what
//! holds for every order.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

/// Each list ascends strictly; every pair of it is compared both ways.
const ASCENDING: &[(VersionOrder, &[&str])] = &[
    (
        VersionOrder::Debian,
        &[
            "1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-1", "1.0-1+b1", "1.0a", "1.0+b", "1.0.1", "1.2",
            "1.10", "1:0.1", "2:0",
        ],
    ),
    (
        VersionOrder::Apk,
        &[
            "1.0_alpha",
            "1.0_alpha2",
            "1.0_beta",
            "1.0_pre1",
            "1.0_rc1",
            "1.0",
            "1.0-r1",
            "1.0-r10",
            "1.0_git20200101",
            "1.0_p1",
            "1.0a",
            "1.0b",
            "1.0.1",
            "1.2",
            "1.10",
            "2",
        ],
    ),
    (
        VersionOrder::Rpm,
        &[
            "0",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1.el9",
            "1.0-2",
            "1.0^git1-1",
            "1.0.a-1",
            "1.0.1-1",
            "1.2-1",
            "1.10-1",
            "1:0.1-1",
        ],
    ),
    (
        VersionOrder::Python,
        &[
            "1.0.dev1",
            "1.0a1",
            "1.0b1",
            "1.0rc1",
            "1.0",
            "1.0.post1",
            "1.1",
            "1.10",
            "1!0.1",
        ],
    ),
    (
        VersionOrder::Semantic,
        &[
            "0.0.0-20200101000000-abcdefabcdef",
            "v1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-rc.1",
            "1.0.0",
            "v1.2.0",
            "1.10.0",
            "go1.21rc2",
            "1.21",
            "1.21.1",
            "2.0.0+incompatible",
        ],
    ),
    (
        VersionOrder::Maven,
        &[
            "1-alpha-1",
            "1-beta",
            "1-milestone",
            "1-rc",
            "1-snapshot",
            "1",
            "1-sp",
            "1-foo",
            "1-1",
            "1-2",
            "1.1",
            "1.2",
            "1.10",
            "2",
        ],
    ),
];

/// Groups of versions that are equal.
const EQUAL: &[(VersionOrder, &[&str])] = &[
    (VersionOrder::Debian, &["1.0", "0:1.0", "1.00"]),
    (VersionOrder::Apk, &["1.0", "1.0-r0", "1.0~abc"]),
    (VersionOrder::Rpm, &["1.0-1", "0:1.0-1", "1_0-1", "1.00-1"]),
    (VersionOrder::Python, &["1.0", "1", "v1.0.0", "1.0+0"]),
    (
        VersionOrder::Semantic,
        &["1.0.0", "v1.0.0", "1.0.0+build", "1.0"],
    ),
    (
        VersionOrder::Maven,
        &["1", "1.0", "1-ga", "1.0.0-final", "1-0", "1.release"],
    ),
    (
        VersionOrder::Maven,
        &["1-a1", "1-alpha-1", "1alpha1", "1.0-ALPHA-1"],
    ),
];

#[test]
fn published_orders_hold() {
    for (order, list) in ASCENDING {
        for (i, a) in list.iter().enumerate() {
            for (j, b) in list.iter().enumerate() {
                assert_eq!(
                    order.compare(a, b),
                    Some(i.cmp(&j)),
                    "{order:?}: {a} and {b}"
                );
            }
        }
    }
    for (order, list) in EQUAL {
        let local = |text: &str| *order == VersionOrder::Python && text.contains('+');
        for a in list.iter().filter(|text| !local(text)) {
            for b in list.iter().filter(|text| !local(text)) {
                assert_eq!(
                    order.compare(a, b),
                    Some(Ordering::Equal),
                    "{order:?}: {a} and {b}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_version_is_compared_with_nothing() {
    let malformed = [
        (VersionOrder::Debian, "x:1"),
        (VersionOrder::Debian, ""),
        (VersionOrder::Apk, "latest"),
        (VersionOrder::Apk, "1.0_unknown"),
        (VersionOrder::Python, "not a version"),
        (VersionOrder::Semantic, "1.2.3.4"),
        (VersionOrder::Semantic, "main"),
    ];
    for (order, text) in malformed {
        assert_eq!(order.compare(text, "1.0.0"), None, "{order:?}: {text}");
    }
    let long = "1".repeat(600);
    assert_eq!(VersionOrder::Maven.compare(&long, "1"), None);
    assert_eq!(
        VersionOrder::of_ecosystem("Debian:12"),
        Some(VersionOrder::Debian)
    );
    assert_eq!(VersionOrder::of_ecosystem("Haskell"), None);
}

fn order() -> impl Strategy<Value = VersionOrder> {
    prop::sample::select(
        ASCENDING
            .iter()
            .map(|(order, _)| *order)
            .collect::<Vec<_>>(),
    )
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,2}(\\.[0-9]{1,2}){0,3}([a-c]|-(alpha|rc|sp|x)\\.?[0-9]?|_(p|rc)[0-9]?|~[a-z0-9]|\
         \\^[a-z0-9])?(-r?[0-9]{1,2})?",
        "([0-9]:)?[0-9a-c.~^+-]{1,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn every_order_is_total(
        order in order(), a in version(), b in version(), c in version(),
    ) {
        if let Some(ab) = order.compare(&a, &b) {
            prop_assert_eq!(order.compare(&b, &a), Some(ab.reverse()), "{} {}", a, b);
            prop_assert_eq!(order.compare(&a, &a), Some(Ordering::Equal));
            if let (Some(bc), Some(ac)) = (order.compare(&b, &c), order.compare(&a, &c))
                && (ab == bc || bc == Ordering::Equal)
            {
                prop_assert_eq!(ac, ab, "{} {} {}", a, b, c);
            }
        }
    }

    #[test]
    fn any_text_is_compared_without_a_panic(order in order(), a in ".{0,20}", b in ".{0,20}") {
        let _ = order.compare(&a, &b);
    }
}
