//! An evaluation acts on the images that the user guide says.

use proptest::prelude::*;

use super::*;
use crate::lifecycle::policy::TagSelection;
use crate::lifecycle::tests::policies::{any_policy, policy_text};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn days_ago(days: u32) -> Timestamp {
    NOW.minus(DAY.saturating_mul(days))
}

fn image(age_days: u32, tags: &[&str]) -> Candidate {
    Candidate {
        class: StorageClass::Standard,
        aged_from: days_ago(age_days),
        pulled_at: None,
        archived_at: None,
        tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
        is_member: false,
        follows_subject: false,
    }
}

/// Evaluates images in any order; the result has theirs.
fn evaluate(
    policy: &LifecyclePolicy,
    images: &[Candidate],
    now: Timestamp,
) -> Vec<Option<Verdict>> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(images[*index].aged_from));
    let mut evaluation = Evaluation::new(policy, now);
    let mut verdicts = vec![None; images.len()];
    for index in order {
        verdicts[index] = evaluation.next(&images[index]);
    }
    verdicts
}

/// Priorities of the rules that act, in the order of the images.
fn acting(policy: &str, images: &[Candidate]) -> Vec<Option<u32>> {
    let policy = LifecyclePolicy::parse(policy).expect("a policy");
    let verdicts = evaluate(&policy, images, NOW);
    let priority = |verdict: Verdict| policy.rules()[verdict.rule].priority;
    verdicts
        .into_iter()
        .map(|verdict| verdict.map(priority))
        .collect()
}

fn rule(priority: u32, selection: &str, action: &str) -> String {
    format!(r#"{{"rulePriority":{priority},"selection":{{{selection}}},"action":{{{action}}}}}"#)
}

const EXPIRE: &str = r#""type":"expire""#;
const ARCHIVE: &str = r#""type":"transition","targetStorageClass":"archive""#;

#[test]
fn keeps_the_newest_images_and_those_that_are_young_enough() {
    let count = policy_text(&[rule(
        1,
        r#""tagStatus":"any","countType":"imageCountMoreThan","countNumber":2"#,
        EXPIRE,
    )]);
    let images = [
        image(1, &["a"]),
        image(9, &[]),
        image(5, &["b"]),
        image(7, &["c"]),
    ];
    assert_eq!(acting(&count, &images), [None, Some(1), None, Some(1)]);

    let age = policy_text(&[rule(
        1,
        r#""tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days",
            "countNumber":5"#,
        EXPIRE,
    )]);
    let mut exact = image(5, &[]);
    let images = [
        image(9, &["a"]),
        image(6, &[]),
        exact.clone(),
        image(4, &[]),
    ];
    assert_eq!(acting(&age, &images), [None, Some(1), None, None]);
    exact.aged_from = Timestamp::from_ms(exact.aged_from.as_ms() - 1);
    assert_eq!(acting(&age, &[exact]), [Some(1)], "older by a millisecond");
}

#[test]
fn a_rule_shields_what_it_keeps_from_later_rules_which_count_it_nevertheless() {
    // The example of the user guide: an image that rule 1 looks at is out of reach of rule 2.
    let policy = policy_text(&[
        rule(
            1,
            r#""tagStatus":"tagged","tagPrefixList":["alpha"],
                "countType":"imageCountMoreThan","countNumber":1"#,
            EXPIRE,
        ),
        rule(
            2,
            r#""tagStatus":"tagged","tagPrefixList":["beta"],
                "countType":"imageCountMoreThan","countNumber":1"#,
            EXPIRE,
        ),
    ]);
    let (a, b, c) = (
        image(1, &["beta-2"]),
        image(2, &["alpha-1", "beta-1"]),
        image(3, &["alpha-2", "beta-9"]),
    );
    let images = [a, b, c];
    // C is beyond the first of rule 1. B is beyond the first of rule 2, but rule 1 keeps it.
    assert_eq!(acting(&policy, &images), [None, None, Some(1)]);
    // A younger than B is beyond the first of rule 2, which counts B.
    let images = [image(3, &["beta-2"]), image(2, &["alpha-1", "beta-1"])];
    assert_eq!(acting(&policy, &images), [Some(2), None]);
}

#[test]
fn every_entry_of_a_list_needs_a_tag() {
    let policy = |list: &str| {
        policy_text(&[rule(
            1,
            &format!(
                r#""tagStatus":"tagged",{list},"countType":"sinceImagePushed",
                    "countUnit":"days","countNumber":1"#
            ),
            EXPIRE,
        )])
    };
    let both = policy(r#""tagPrefixList":["alpha","beta"]"#);
    let images = [image(9, &["alpha-1"]), image(9, &["alpha-1", "beta"])];
    assert_eq!(acting(&both, &images), [None, Some(1)]);
    let patterns = policy(r#""tagPatternList":["v*.*-rc","*prod*"]"#);
    let images = [
        image(9, &["v1.2-rc", "my-prod-1"]),
        image(9, &["v1-rc", "prod"]),
        image(9, &["xv1.2-rc", "prod"]),
    ];
    assert_eq!(acting(&patterns, &images), [Some(1), None, None]);
    let literal = policy(r#""tagPatternList":["v1.2"]"#);
    let images = [
        image(9, &["v1.2"]),
        image(9, &["v1x2"]),
        image(9, &["v1.23"]),
    ];
    assert_eq!(acting(&literal, &images), [Some(1), None, None]);
}

#[test]
fn members_of_indexes_and_referrers_of_live_subjects_are_left_alone() {
    let policy = policy_text(&[rule(
        1,
        r#""tagStatus":"any","countType":"imageCountMoreThan","countNumber":2"#,
        EXPIRE,
    )]);
    let (mut member, mut referrer) = (image(8, &[]), image(1, &[]));
    member.is_member = true;
    referrer.follows_subject = true;
    let images = [
        referrer,
        image(2, &["a"]),
        image(3, &["b"]),
        member,
        image(9, &[]),
    ];
    assert_eq!(
        acting(&policy, &images),
        [None, None, None, None, Some(1)],
        "a referrer is not counted"
    );
}

#[test]
fn pulls_restorations_and_the_archive_have_rules_of_their_own() {
    let policy = policy_text(&[
        rule(
            1,
            r#""tagStatus":"any","countType":"sinceImagePulled","countUnit":"days",
                "countNumber":30"#,
            ARCHIVE,
        ),
        rule(
            2,
            r#""tagStatus":"any","storageClass":"archive",
                "countType":"sinceImageTransitioned","countUnit":"days","countNumber":90"#,
            EXPIRE,
        ),
    ]);
    let (never_pulled, mut pulled, mut restored) = (image(40, &[]), image(40, &[]), image(20, &[]));
    pulled.pulled_at = Some(days_ago(3));
    // Pulled before it was archived and restored 20 days ago.
    restored.pulled_at = Some(days_ago(400));
    let archived = |days| Candidate {
        class: StorageClass::Archive,
        archived_at: Some(days_ago(days)),
        ..image(1_000, &[])
    };
    let images = [never_pulled, pulled, restored, archived(91), archived(89)];
    assert_eq!(
        acting(&policy, &images),
        [Some(1), None, None, Some(2), None]
    );
}

/// What the user guide says, image by image and rule by rule, without regard to cost.
fn oracle(policy: &LifecyclePolicy, images: &[Candidate]) -> Vec<Option<Verdict>> {
    let in_reach = |rule: usize, index: usize| {
        let (rule, image) = (&policy.rules()[rule], &images[index]);
        let has = |test: &dyn Fn(&str) -> bool| image.tags.iter().any(|tag| test(tag.as_str()));
        let tags = match &rule.tags {
            TagSelection::Any => true,
            TagSelection::Untagged => image.tags.is_empty(),
            TagSelection::Prefixes(all) => all
                .iter()
                .all(|prefix| has(&|tag| tag.starts_with(prefix.as_str()))),
            TagSelection::Patterns(all) => all.iter().all(|pattern| has(&|tag| glob(pattern, tag))),
        };
        let class = match rule.criterion {
            Criterion::SinceArchived { .. } => StorageClass::Archive,
            _ => StorageClass::Standard,
        };
        tags && image.class == class && !image.follows_subject
    };
    let beyond = |rule: usize, index: usize| {
        let image = &images[index];
        let older = |since: Timestamp, days: u32| {
            NOW.as_ms() - since.as_ms() > i64::from(days) * 24 * 3_600 * 1_000
        };
        match policy.rules()[rule].criterion {
            Criterion::CountMoreThan { images: most, .. } => {
                let newer = (0..images.len())
                    .filter(|other| in_reach(rule, *other))
                    .filter(|other| {
                        let other_age = images[*other].aged_from;
                        other_age > image.aged_from
                            || other_age == image.aged_from && *other < index
                    });
                newer.count() >= most as usize
            }
            Criterion::SincePushed { days, .. } => older(image.aged_from, days),
            Criterion::SincePulled { days } => older(
                image
                    .pulled_at
                    .unwrap_or(image.aged_from)
                    .max(image.aged_from),
                days,
            ),
            Criterion::SinceArchived { days } => {
                image.archived_at.is_some_and(|since| older(since, days))
            }
        }
    };
    (0..images.len())
        .map(|index| {
            let rule = (0..policy.rules().len()).find(|rule| in_reach(*rule, index))?;
            let acts = beyond(rule, index) && !images[index].is_member;
            acts.then(|| Verdict {
                rule,
                action: policy.rules()[rule].criterion.action(),
            })
        })
        .collect()
}

/// Whether the pattern matches, by trying every length for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        Some((first, rest)) => text
            .strip_prefix(first)
            .is_some_and(|text| glob(rest, text)),
    }
}

fn any_image() -> impl Strategy<Value = Candidate> {
    let tags = prop::collection::btree_set("[ab]{1,3}", 0..3);
    let class = prop_oneof![
        3 => Just(StorageClass::Standard),
        1 => Just(StorageClass::Archive),
    ];
    let days = 0..200_u32;
    (
        class,
        days.clone(),
        prop::option::of(days.clone()),
        days,
        tags,
        0..10,
        0..10,
    )
        .prop_map(
            |(class, age, pulled, archived, tags, member, referrer)| Candidate {
                class,
                aged_from: days_ago(age),
                pulled_at: pulled.map(days_ago),
                archived_at: (class != StorageClass::Standard).then(|| days_ago(archived)),
                tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
                is_member: member == 0,
                follows_subject: referrer == 0,
            },
        )
}

proptest! {
    #[test]
    fn an_evaluation_is_what_the_guide_says(
        policy in any_policy(),
        images in prop::collection::vec(any_image(), 0..40),
    ) {
        let policy = LifecyclePolicy::parse(&policy).expect("a policy");
        let verdicts = evaluate(&policy, &images, NOW);
        prop_assert_eq!(&verdicts, &oracle(&policy, &images));
        for (image, verdict) in images.iter().zip(verdicts) {
            if let Some(verdict) = verdict {
                prop_assert!(still_stands(&policy, verdict, image, NOW));
                let pulled = Candidate { pulled_at: Some(NOW), ..image.clone() };
                let by_pull = matches!(
                    policy.rules()[verdict.rule].criterion,
                    Criterion::SincePulled { .. }
                );
                prop_assert_eq!(still_stands(&policy, verdict, &pulled, NOW), !by_pull);
                let member = Candidate { is_member: true, ..image.clone() };
                prop_assert!(!still_stands(&policy, verdict, &member, NOW));
            }
        }
    }

    /// As time passes, images expire by age and never come back into what is kept.
    #[test]
    fn what_is_beyond_stays_beyond(
        policy in any_policy(),
        images in prop::collection::vec(any_image(), 0..20),
        later in 0..300_u32,
    ) {
        let policy = LifecyclePolicy::parse(&policy).expect("a policy");
        let now = evaluate(&policy, &images, NOW);
        let then = evaluate(&policy, &images, NOW.plus(DAY.saturating_mul(later)));
        for (now, then) in now.into_iter().zip(then) {
            prop_assert!(now.is_none() || now == then);
        }
    }
}
