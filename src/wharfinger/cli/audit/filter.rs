//! Which records `wharfinger audit` shows. PURE.

use wharfinger_audit::{Event, Outcome};

/// What a record must have to be shown. `None` accepts any.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// RFC 3339 in UTC.
    pub(super) since: Option<String>,
    pub(super) user: Option<String>,
    pub(super) action: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) denied: bool,
}

impl Filter {
    pub(super) fn has(&self, event: &Event) -> bool {
        let is_recent = |since: &String| seconds(&event.event_time) >= seconds(since);
        self.since.as_ref().is_none_or(is_recent)
            && self.user.as_ref().is_none_or(|user| is_of(event, user))
            && self
                .action
                .as_ref()
                .is_none_or(|action| is_action(event, action))
            && self.resource.as_ref().is_none_or(|text| {
                let mut resources = event.resources.iter();
                resources.any(|resource| resource.arn.contains(text.as_str()))
            })
            && (!self.denied || event.additional_event_data.outcome == Outcome::Denied)
    }
}

/// The part of a time that sorts as text does, since a fraction of the second may be missing.
fn seconds(time: &str) -> &str {
    time.get(..19).unwrap_or(time)
}

/// Whether the sender has this name, ARN or access key.
fn is_of(event: &Event, wanted: &str) -> bool {
    let identity = &event.user_identity;
    let issuer = identity.session_context.as_ref();
    let issuer = issuer.map(|context| &context.session_issuer);
    [
        identity.user_name.as_deref(),
        identity.arn.as_deref(),
        identity.access_key_id.as_deref(),
        identity.principal_id.as_deref(),
        issuer.map(|issuer| issuer.user_name.as_str()),
        issuer.map(|issuer| issuer.arn.as_str()),
        (identity.r#type == "Root").then_some("root"),
    ]
    .contains(&Some(wanted))
}

/// Whether the operation, or an action that was decided about, has this name: with or without the
/// service, and with a `*` at its end for any that begin so. Case does not count.
fn is_action(event: &Event, wanted: &str) -> bool {
    let service = event.event_source.split('.').next().unwrap_or_default();
    let own = format!("{service}:{}", event.event_name);
    let decided = event.additional_event_data.decisions.iter();
    let mut actions = decided
        .map(|decision| decision.action.as_str())
        .chain([own.as_str()]);
    let wanted = wanted.to_ascii_lowercase();
    let has = |name: &str| match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == wanted,
    };
    actions.any(|action| {
        let action = action.to_ascii_lowercase();
        has(&action) || action.split_once(':').is_some_and(|(_, name)| has(name))
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_audit::{DecisionRecord, ResourceName};
    use wharfinger_base::Timestamp;

    use super::*;

    fn event() -> Event {
        let at = Timestamp::from_ms(1_700_000_000_500);
        let mut event = Event::new("ecr.amazonaws.com", "PutImage", at);
        event.user_identity.r#type = "IAMUser".into();
        event.user_identity.user_name = Some("ci".into());
        event.user_identity.access_key_id = Some("AKIAIOSFODNN7EXAMPLE".into());
        event.resources.push(ResourceName {
            arn: "arn:aws:ecr:us-east-1:123456789012:repository/web".into(),
        });
        event.additional_event_data.decisions.push(DecisionRecord {
            action: "ecr:CreateRepository".into(),
            ..DecisionRecord::default()
        });
        event
    }

    #[test]
    fn records_are_chosen_by_each_property() {
        type Set = fn(&mut Filter, String);
        let since: Set = |filter, text| filter.since = Some(text);
        let user: Set = |filter, text| filter.user = Some(text);
        let action: Set = |filter, text| filter.action = Some(text);
        let resource: Set = |filter, text| filter.resource = Some(text);
        for (set, text, expected) in [
            (user, "ci", true),
            (user, "AKIAIOSFODNN7EXAMPLE", true),
            (user, "c", false),
            (user, "root", false),
            (action, "ecr:PutImage", true),
            (action, "putimage", true),
            (action, "ecr:Create*", true),
            (action, "Put", false),
            (action, "iam:*", false),
            (resource, "repository/web", true),
            (resource, "api", false),
            (since, "2023-11-14T22:13:20Z", true),
            (since, "2023-11-14T22:13:21Z", false),
        ] {
            let mut filter = Filter::default();
            set(&mut filter, text.to_owned());
            assert_eq!(filter.has(&event()), expected, "{filter:?}");
        }
        let denied = Filter {
            denied: true,
            ..Filter::default()
        };
        assert!(Filter::default().has(&event()) && !denied.has(&event()));
        let mut event = event();
        event.additional_event_data.outcome = Outcome::Denied;
        assert!(denied.has(&event));
    }
}
