//! Records as lines of a table. PURE.

use wharfinger_audit::{DecisionRecord, Event, Outcome};

/// The names of the columns.
pub(super) const HEADER: &str = "TIME                 RESULT   USER             \
     ACTION                          FROM             RESOURCE AND REASON\n";

/// One record. Characters that could control a terminal are replaced.
pub(super) fn row(event: &Event) -> String {
    let time = event.event_time.get(..19).unwrap_or_default();
    let data = &event.additional_event_data;
    let result = match data.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Failed => "failed",
    };
    let service = event.event_source.split('.').next().unwrap_or_default();
    let action = format!("{service}:{}", event.event_name);
    let resources: Vec<_> = event.resources.iter().map(|one| one.arn.as_str()).collect();
    let mut rest = resources.join(" ");
    for reason in reasons(event) {
        rest.push_str(if rest.is_empty() { "" } else { "; " });
        rest.push_str(&reason);
    }
    let line = format!(
        "{time}Z {result:<8} {:<16} {action:<31} {:<16} {rest}",
        user(event),
        event.source_ip_address
    );
    let visible = line.trim_end().chars().map(|character| {
        if character.is_control() {
            '\u{FFFD}'
        } else {
            character
        }
    });
    visible.chain(['\n']).collect()
}

/// The shortest name of the sender.
fn user(event: &Event) -> &str {
    let identity = &event.user_identity;
    let session = identity
        .arn
        .as_deref()
        .filter(|_| identity.session_context.is_some());
    let session = session.and_then(|arn| arn.split_once(":assumed-role/"));
    let name = session
        .map(|(_, name)| name)
        .or(identity.user_name.as_deref());
    match identity.r#type.as_str() {
        "Root" => "root",
        "AWSAccount" => "anonymous",
        "Unknown" => identity.access_key_id.as_deref().unwrap_or("unknown"),
        "AWSService" => "-",
        _ => name.unwrap_or("-"),
    }
}

/// Which statements decided, or why it failed.
fn reasons(event: &Event) -> Vec<String> {
    let data = &event.additional_event_data;
    let is_denied = data.outcome == Outcome::Denied;
    let shown = data.decisions.iter();
    let shown = shown.filter(|decision| !is_denied || decision.decision != "allowed");
    let mut reasons: Vec<String> = Vec::new();
    for reason in shown.map(reason) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if let Some(count) = data.count {
        reasons.push(format!("{count} records"));
    }
    if let Some(code) = event
        .error_code
        .as_ref()
        .filter(|_| reasons.is_empty() || !is_denied)
    {
        reasons.push(code.clone());
    }
    reasons
}

/// The deciding statement, such as `explicit deny by identity policy own of user/ci, statement 1`.
fn reason(decision: &DecisionRecord) -> String {
    let kind = &decision.policy_type;
    let Some(statement) = decision.statement else {
        return match decision.decision.as_str() {
            "allowed" => "allowed as root".to_owned(),
            _ => format!("no {kind} policy allows {}", decision.action),
        };
    };
    let mut text = match decision.decision.as_str() {
        "allowed" => format!("by {kind} policy"),
        _ => format!("explicit deny by {kind} policy"),
    };
    let part = |before: &str, value: Option<&str>| match value {
        Some(value) => format!("{before}{value}"),
        None => String::new(),
    };
    text += &part(" ", decision.policy.as_deref());
    text += &part(" of ", decision.policy_owner.as_deref());
    let sid = part(" ", decision.sid.as_deref());
    format!("{text}, statement {statement}{sid}")
}

#[cfg(test)]
mod tests {
    use wharfinger_audit::ResourceName;
    use wharfinger_base::Timestamp;

    use super::*;

    fn event() -> Event {
        let at = Timestamp::from_ms(1_700_000_000_500);
        let mut event = Event::new("ecr.amazonaws.com", "PutImage", at);
        event.user_identity.r#type = "IAMUser".into();
        event.user_identity.user_name = Some("ci".into());
        event.source_ip_address = "10.0.0.1".into();
        event.resources.push(ResourceName {
            arn: "arn:aws:ecr:us-east-1:123456789012:repository/web".into(),
        });
        event
    }

    #[test]
    fn a_row_says_who_did_what_and_why_it_was_decided_so() {
        let mut event = event();
        event.additional_event_data.decisions = vec![DecisionRecord {
            action: "ecr:PutImage".into(),
            decision: "allowed".into(),
            policy_type: "identity".into(),
            policy: Some("own".into()),
            policy_owner: Some("user/ci".into()),
            statement: Some(1),
            sid: Some("Push".into()),
            ..DecisionRecord::default()
        }];
        assert_eq!(
            row(&event),
            "2023-11-14T22:13:20Z allowed  ci               ecr:PutImage                    \
             10.0.0.1         arn:aws:ecr:us-east-1:123456789012:repository/web; by identity \
             policy own of user/ci, statement 1 Push\n"
        );
        event.additional_event_data.outcome = Outcome::Denied;
        event.additional_event_data.decisions[0] = DecisionRecord {
            action: "ecr:PutImage".into(),
            decision: "implicitDeny".into(),
            policy_type: "boundary".into(),
            ..DecisionRecord::default()
        };
        assert!(row(&event).ends_with("; no boundary policy allows ecr:PutImage\n"));
    }

    #[test]
    fn a_row_cannot_control_the_terminal() {
        let mut event = event();
        event.user_identity.user_name = Some("c\u{1b}[2Ji\n".into());
        let row = row(&event);
        assert_eq!(row.matches(char::is_control).count(), 1);
        assert!(row.ends_with('\n'));
    }

    #[test]
    fn a_failed_sign_in_shows_its_key() {
        let mut event = event();
        event.user_identity.r#type = "Unknown".into();
        event.user_identity.access_key_id = Some("AKIAIOSFODNN7EXAMPLE".into());
        event.error_code = Some("InvalidClientTokenId".into());
        event.additional_event_data.outcome = Outcome::Denied;
        let row = row(&event);
        assert!(row.contains(" denied   AKIAIOSFODNN7EXAMPLE "), "{row}");
        assert!(row.ends_with("; InvalidClientTokenId\n"), "{row}");
    }
}
