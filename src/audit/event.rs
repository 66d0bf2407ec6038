//! An event as it is written: the members and names of a `CloudTrail` record. Texts that a client
//! chooses are cut to a length. PURE.
//!
//! Source: `CloudTrail` user guide, "`CloudTrail` record contents" and "`userIdentity` element".

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

/// The version of the record's format.
const VERSION: &str = "1.08";

/// Longest text of an event, in characters: an ARN's limit is 2,048 bytes, and nothing else is
/// worth more.
const MAX_CHARS: usize = 2_048;
/// Longest Sid of a statement, in characters. Policies of repositories may hold far longer ones.
const MAX_SID_CHARS: usize = 256;
/// Longest `userAgent`, in characters. Real ones stay under 500 bytes.
const MAX_USER_AGENT_CHARS: usize = 512;
/// Most decisions and most resources of one event: an operation demands a few.
const MAX_ITEMS: usize = 16;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub event_version: String,
    pub user_identity: UserIdentity,
    /// RFC 3339 in UTC.
    pub event_time: String,
    /// The service, such as `ecr.amazonaws.com`.
    pub event_source: String,
    /// The operation, such as `PutImage`.
    pub event_name: String,
    pub aws_region: String,
    #[serde(rename = "sourceIPAddress")]
    pub source_ip_address: String,
    pub user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Always null: parameters and responses may hold documents and secrets.
    pub request_parameters: (),
    pub response_elements: (),
    pub additional_event_data: AdditionalData,
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// Unique; given when the event is written.
    #[serde(rename = "eventID")]
    pub event_id: String,
    pub read_only: bool,
    pub resources: Vec<ResourceName>,
    pub event_type: String,
    pub management_event: bool,
    pub recipient_account_id: String,
    pub event_category: String,
}

/// Who sent the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity {
    /// `Root`, `IAMUser`, `AssumedRole`, `AWSAccount` for an anonymous caller, or `Unknown` where
    /// the credentials are not valid.
    pub r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_context: Option<SessionContext>,
}

/// The session of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionContext {
    pub session_issuer: SessionIssuer,
}

/// The role that was assumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionIssuer {
    pub r#type: String,
    pub principal_id: String,
    pub arn: String,
    pub account_id: String,
    pub user_name: String,
}

/// What AWS's form has no member for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalData {
    pub outcome: Outcome,
    /// Method and path of a request to `/v2/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The decisions about the request, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionRecord>,
    /// How many events a record stands for that says what was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was allowed and did what it should.
    Allowed,
    /// Policies or credentials did not allow it.
    Denied,
    /// It was allowed and failed for another reason.
    Failed,
}

/// One decision, with the statement that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Such as `ecr:PutImage`.
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `allowed`, `explicitDeny` or `implicitDeny`, as AWS's policy simulator names them.
    pub decision: String,
    /// The kind of the policy that decided, or that would have had to allow: `identity`,
    /// `resource`, `registry`, `boundary`, `session`; `root` where no policy was needed.
    pub policy_type: String,
    /// Its name or ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The identity that it is attached to, such as `user/ann`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_owner: Option<String>,
    /// The index of the statement, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// What a request worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceName {
    #[serde(rename = "ARN")]
    pub arn: String,
}

impl Event {
    /// An event of the service and the operation that was allowed, without anything else.
    #[must_use]
    pub fn new(source: &str, name: &str, at: Timestamp) -> Self {
        Self {
            event_version: VERSION.to_owned(),
            user_identity: UserIdentity::default(),
            event_time: at.to_rfc3339(),
            event_source: source.to_owned(),
            event_name: name.to_owned(),
            aws_region: String::new(),
            source_ip_address: String::new(),
            user_agent: None,
            error_code: None,
            error_message: None,
            request_parameters: (),
            response_elements: (),
            additional_event_data: AdditionalData {
                outcome: Outcome::Allowed,
                request: None,
                decisions: Vec::new(),
                count: None,
            },
            request_id: String::new(),
            event_id: String::new(),
            read_only: false,
            resources: Vec::new(),
            event_type: "AwsApiCall".to_owned(),
            management_event: true,
            recipient_account_id: String::new(),
            event_category: "Management".to_owned(),
        }
    }

    /// A record that stands for `count` events which were not recorded.
    #[must_use]
    pub(super) fn omission(name: &str, count: u64, at: Timestamp) -> Self {
        let mut event = Self::new("wharfinger.audit", name, at);
        "AWSService".clone_into(&mut event.user_identity.r#type);
        "AwsServiceEvent".clone_into(&mut event.event_type);
        event.additional_event_data.count = Some(count);
        event
    }

    /// The same event within the bounds of texts and lists.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        let data = &mut self.additional_event_data;
        data.decisions.truncate(MAX_ITEMS);
        self.resources.truncate(MAX_ITEMS);
        cut_optional(&mut self.user_agent, MAX_USER_AGENT_CHARS);
        cut_optional(&mut self.error_message, MAX_CHARS);
        cut_optional(&mut data.request, MAX_CHARS);
        for decision in &mut data.decisions {
            cut_optional(&mut decision.sid, MAX_SID_CHARS);
        }
        let resources = self.resources.iter_mut().map(|resource| &mut resource.arn);
        let decided = data.decisions.iter_mut();
        let decided = decided.filter_map(|decision| decision.resource.as_mut());
        for text in resources.chain(decided).chain([&mut self.request_id]) {
            cut(text, MAX_CHARS);
        }
        self
    }

    /// The event as a line with its end.
    pub(super) fn line(&self) -> Option<Vec<u8>> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

fn cut_optional(text: &mut Option<String>, max_chars: usize) {
    if let Some(text) = text {
        cut(text, max_chars);
    }
}

/// Keeps the first characters and marks what was cut off.
fn cut(text: &mut String, max_chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Event {
        let at = Timestamp::from_ms(1_700_000_000_000);
        Event::new("ecr.amazonaws.com", "PutImage", at)
    }

    #[test]
    fn an_event_has_the_members_of_cloudtrail() {
        let mut event = event();
        event.user_identity.r#type = "IAMUser".into();
        event.resources.push(ResourceName {
            arn: "arn:aws:ecr:us-east-1:123456789012:repository/web".into(),
        });
        let line = event.line().expect("JSON");
        let value: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(
            value,
            json!({
                "eventVersion": "1.08",
                "userIdentity": {"type": "IAMUser"},
                "eventTime": "2023-11-14T22:13:20Z",
                "eventSource": "ecr.amazonaws.com",
                "eventName": "PutImage",
                "awsRegion": "",
                "sourceIPAddress": "",
                "userAgent": null,
                "requestParameters": null,
                "responseElements": null,
                "additionalEventData": {"outcome": "allowed"},
                "requestID": "",
                "eventID": "",
                "readOnly": false,
                "resources": [{"ARN": "arn:aws:ecr:us-east-1:123456789012:repository/web"}],
                "eventType": "AwsApiCall",
                "managementEvent": true,
                "recipientAccountId": "",
                "eventCategory": "Management",
            })
        );
        assert_eq!(
            serde_json::from_slice::<Event>(&line).expect("an event"),
            event
        );
    }

    proptest! {
        #[test]
        fn every_event_is_one_line_of_bounded_length(
            text in "\\PC{0,40}|[a\n\"\\\\]{0,40}", times in 1_usize..200, count in 0_usize..40,
        ) {
            let long = text.repeat(times);
            let mut event = event();
            event.user_agent = Some(long.clone());
            event.error_message = Some(long.clone());
            event.additional_event_data.request = Some(long.clone());
            event.resources = vec![ResourceName { arn: long.clone() }; count];
            let decision = DecisionRecord {
                resource: Some(long.clone()),
                sid: Some(long),
                ..DecisionRecord::default()
            };
            event.additional_event_data.decisions = vec![decision; count];
            let event = event.bounded();
            let line = event.line().expect("JSON");
            prop_assert!(line.len() < 512 * 1024, "{}", line.len());
            let ends = line.split(|byte| *byte == b'\n').count() - 1;
            prop_assert_eq!(ends, 1);
            prop_assert_eq!(serde_json::from_slice::<Event>(&line).expect("an event"), event);
        }
    }
}
