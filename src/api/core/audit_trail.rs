//! What one request leaves for the audit log: its sender, the decisions about it, and how it ended.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wharfinger_audit::{AuditLog, DecisionRecord, Event, Outcome, ResourceName, UserIdentity};
use wharfinger_aws::{Arn, Region};
use wharfinger_base::Timestamp;
use wharfinger_iam::{Caller, Decision};

use crate::audit_record::{decision, identity, unknown_identity};
use crate::request_context::RequestContext;

/// Collects what the decisions about one request were. A request that is allowed, and that is not
/// to be recorded in any case, notes nothing: it allocates no memory and takes no lock here.
#[derive(Debug, Default)]
pub struct AuditTrail {
    keeps_allowed: bool,
    /// Made by what is noted first.
    noted: OnceLock<Box<Mutex<Noted>>>,
}

#[derive(Debug, Default)]
struct Noted {
    identity: Option<UserIdentity>,
    region: Option<String>,
    decisions: Vec<DecisionRecord>,
    is_refused: bool,
    is_failed_sign_in: bool,
}

/// What the trail does not know of a request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct AuditedRequest<'a> {
    /// The service, as the prefix of IAM actions: `ecr`.
    pub service: &'a str,
    /// The operation; for a request that was refused, the trail knows it better.
    pub operation: &'a str,
    pub read_only: bool,
    /// Method and path, where the operation does not tell them.
    pub request: Option<(&'a str, &'a str)>,
    /// Code and message of the response, where it is an error.
    pub error: Option<(&'a str, &'a str)>,
    pub now: Timestamp,
}

impl AuditTrail {
    /// The trail of a request that is recorded in any case, or of one that is recorded only where
    /// it is refused.
    #[must_use]
    pub fn new(keeps_allowed: bool) -> Self {
        Self {
            keeps_allowed,
            noted: OnceLock::new(),
        }
    }

    /// What is noted, for adding to it.
    fn noted(&self) -> MutexGuard<'_, Noted> {
        lock(self.noted.get_or_init(Box::default))
    }

    /// Takes what was noted; `None` where nothing was.
    fn take(&self) -> Option<Noted> {
        let noted = self.noted.get()?;
        Some(std::mem::take(&mut *lock(noted)))
    }

    /// Notes the sender of a request that no decision is made about.
    pub(crate) fn note_caller(&self, caller: &Caller, region: &Region) {
        self.noted().set_caller(caller, region);
    }

    /// Notes a decision, if it belongs into the log.
    pub(crate) fn note_decision(
        &self,
        caller: &Caller,
        region: &Region,
        (action, resource): (&str, Option<&Arn>),
        made: &Decision,
    ) {
        if made.is_allow() && !self.keeps_allowed {
            return;
        }
        let mut noted = self.noted();
        noted.set_caller(caller, region);
        noted.is_refused |= !made.is_allow();
        noted.decisions.push(decision(action, resource, made));
    }

    /// Notes that the credentials of the request are not valid, with the access key id that it
    /// names. A sender that is known stays as it is.
    pub fn note_failed_sign_in(&self, access_key_id: Option<&str>) {
        let mut noted = self.noted();
        if noted.identity.is_none() {
            noted.is_failed_sign_in = true;
            noted.identity = Some(unknown_identity(access_key_id));
        }
    }

    /// The first decision against the request, with the caller.
    pub(crate) fn denial(&self) -> Option<(UserIdentity, DecisionRecord)> {
        let noted = lock(self.noted.get()?);
        let denied = noted.first_denial()?;
        Some((noted.identity.clone()?, denied.clone()))
    }

    /// Records the request if it belongs into the log: one that is recorded in any case, once its
    /// sender is known, and every one that policies or credentials did not allow. Only then is
    /// `request` called.
    pub fn record<'a>(
        &self,
        log: &AuditLog,
        context: &RequestContext,
        request: impl FnOnce() -> AuditedRequest<'a>,
    ) {
        let Some(noted) = self.take() else {
            return;
        };
        log_denials(context.request_id(), &noted);
        if !log.is_on() {
            return;
        }
        let request = request();
        let (is_failed_sign_in, now) = (noted.is_failed_sign_in, request.now);
        let Some(mut event) = noted.event(self.keeps_allowed, &request) else {
            return;
        };
        let origin = context.origin();
        let peer = origin.peer().map(|peer| peer.to_canonical().to_string());
        event.source_ip_address = peer.unwrap_or_default();
        event.user_agent = origin.user_agent().map(ToOwned::to_owned);
        context.request_id().clone_into(&mut event.request_id);
        if is_failed_sign_in {
            log.record_failed_sign_in(event, now);
        } else if is_permitted(&event) {
            log.record(event);
        } else {
            let sender = sender(&event.user_identity).to_owned();
            log.record_refusal(&sender, event, now);
        }
    }
}

fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    // What was noted before a panic is still right.
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether policies allowed anything of the request. Others may be sent by anybody with a key, as
/// often as the server takes them.
fn is_permitted(event: &Event) -> bool {
    let data = &event.additional_event_data;
    let mut decisions = data.decisions.iter();
    data.outcome != Outcome::Denied && decisions.any(|made| made.decision == "allowed")
}

/// What the requests of one sender are counted by: all sessions of a role together.
fn sender(identity: &UserIdentity) -> &str {
    let session = identity.session_context.as_ref();
    let role = session.map(|session| session.session_issuer.arn.as_str());
    let name = role.or(identity.arn.as_deref());
    name.unwrap_or(&identity.r#type)
}

/// Logs why a request was refused, at debug level.
fn log_denials(request_id: &str, noted: &Noted) {
    let identity = noted.identity.as_ref();
    let caller = identity.and_then(|identity| identity.arn.as_deref());
    let denied = noted.decisions.iter();
    for denied in denied.filter(|made| made.decision != "allowed") {
        tracing::debug!(
            request_id,
            caller,
            action = denied.action,
            resource = denied.resource,
            decision = denied.decision,
            policy_type = denied.policy_type,
            policy = denied.policy,
            policy_owner = denied.policy_owner,
            statement = denied.statement,
            sid = denied.sid,
            "access denied"
        );
    }
}

impl Noted {
    fn set_caller(&mut self, caller: &Caller, region: &Region) {
        if self.identity.is_none() {
            self.identity = Some(identity(caller));
            self.region = Some(region.to_string());
        }
    }

    fn first_denial(&self) -> Option<&DecisionRecord> {
        let mut decisions = self.decisions.iter();
        decisions.find(|made| made.decision != "allowed")
    }

    /// The event of the request; `None` where it does not belong into the log. PURE.
    fn event(mut self, keeps_allowed: bool, request: &AuditedRequest<'_>) -> Option<Event> {
        let identity = self.identity.take()?;
        let is_denied = self.is_refused || self.is_failed_sign_in;
        if !keeps_allowed && !is_denied {
            return None;
        }
        let denied = self.first_denial();
        let denied = denied.and_then(|denied| denied.action.split_once(':'));
        let (service, operation) = denied
            .filter(|_| request.request.is_some())
            .unwrap_or((request.service, request.operation));
        let source = format!("{service}.amazonaws.com");
        let mut event = Event::new(&source, operation, request.now);
        event.recipient_account_id = identity.account_id.clone().unwrap_or_default();
        event.user_identity = identity;
        event.aws_region = self.region.unwrap_or_default();
        event.read_only = request.read_only;
        event.error_code = request.error.map(|(code, _)| code.to_owned());
        event.error_message = request.error.map(|(_, message)| message.to_owned());
        for arn in self
            .decisions
            .iter()
            .filter_map(|made| made.resource.as_ref())
        {
            if event.resources.iter().all(|known| known.arn != *arn) {
                event.resources.push(ResourceName { arn: arn.clone() });
            }
        }
        let data = &mut event.additional_event_data;
        data.outcome = match request.error {
            _ if is_denied => Outcome::Denied,
            Some(_) => Outcome::Failed,
            None => Outcome::Allowed,
        };
        data.request = request
            .request
            .map(|(method, path)| format!("{method} {path}"));
        data.decisions = self.decisions;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_aws::AccountId;
    use wharfinger_iam::{Denial, Grant, PolicyKind};

    use super::*;

    const ALLOW: Decision = Decision::Allow {
        by: Grant::AccountRoot,
    };
    const DENY: Decision = Decision::Deny {
        reason: Denial::NoAllow(PolicyKind::Identity),
    };

    fn request<'a>(error: Option<(&'a str, &'a str)>) -> AuditedRequest<'a> {
        AuditedRequest {
            service: "ecr",
            operation: "PutImage",
            read_only: false,
            request: None,
            error,
            now: Timestamp::from_ms(0),
        }
    }

    fn event(keeps_allowed: bool, made: &[Decision], error: bool) -> Option<Event> {
        let trail = AuditTrail::new(keeps_allowed);
        let (root, region) = (Caller::root(AccountId::DEV), "us-east-1".parse());
        let region: Region = region.expect("a region");
        let arn = Arn::ecr_repository(&region, &AccountId::DEV, "web");
        for made in made {
            trail.note_decision(&root, &region, ("ecr:PutImage", Some(&arn)), made);
        }
        let error = error.then_some(("Code", "message"));
        trail.take()?.event(keeps_allowed, &request(error))
    }

    #[test]
    fn an_allowed_read_notes_nothing() {
        let trail = AuditTrail::new(false);
        let root = Caller::root(AccountId::DEV);
        let region = "us-east-1".parse().expect("a region");
        trail.note_decision(&root, &region, ("ecr:BatchGetImage", None), &ALLOW);
        assert!(trail.denial().is_none() && trail.take().is_none());
        assert!(trail.noted.get().is_none(), "nothing was allocated");
        trail.note_decision(&root, &region, ("ecr:BatchGetImage", None), &DENY);
        assert!(trail.denial().is_some() && trail.take().is_some());
    }

    #[test]
    fn what_changes_or_is_refused_is_recorded() {
        assert!(event(false, &[ALLOW], false).is_none(), "a read");
        assert!(event(true, &[], false).is_none(), "nobody sent it");
        for (keeps_allowed, made, error, outcome) in [
            (true, &[ALLOW, ALLOW][..], false, Outcome::Allowed),
            (true, &[ALLOW], true, Outcome::Failed),
            (true, &[ALLOW, DENY], true, Outcome::Denied),
            (false, &[ALLOW, DENY], true, Outcome::Denied),
        ] {
            let event = event(keeps_allowed, made, error).expect("recorded");
            assert_eq!(event.additional_event_data.outcome, outcome);
            assert_eq!(event.error_code.is_some(), error);
            assert_eq!(event.resources.len(), 1, "each resource once");
            assert_eq!(event.event_source, "ecr.amazonaws.com");
            let decisions = event.additional_event_data.decisions.len();
            assert_eq!(decisions, if keeps_allowed { made.len() } else { 1 });
        }
    }

    #[test]
    fn only_what_a_policy_allowed_is_recorded_without_a_bound() {
        let permitted = |made: &[Decision], error| {
            let trail = AuditTrail::new(true);
            let (root, region) = (Caller::root(AccountId::DEV), "us-east-1".parse());
            let region: Region = region.expect("a region");
            trail.note_caller(&root, &region);
            for made in made {
                trail.note_decision(&root, &region, ("ecr:PutImage", None), made);
            }
            let error = Some(("Code", "message")).filter(|_| error);
            let noted = trail.take().expect("something is noted");
            let event = noted.event(true, &request(error)).expect("recorded");
            assert_eq!(sender(&event.user_identity), root.arn().as_str());
            is_permitted(&event)
        };
        assert!(permitted(&[ALLOW], false) && permitted(&[ALLOW], true));
        assert!(!permitted(&[ALLOW, DENY], true));
        assert!(!permitted(&[], false), "nothing was decided");
    }

    #[test]
    fn a_failed_sign_in_is_recorded_as_one() {
        let trail = AuditTrail::new(false);
        trail.note_failed_sign_in(Some("AKIAIOSFODNN7EXAMPLE"));
        let noted = trail.take().expect("something is noted");
        let event = noted.event(false, &request(Some(("Code", "message"))));
        let event = event.expect("recorded");
        assert_eq!(event.user_identity.r#type, "Unknown");
        assert_eq!(event.additional_event_data.outcome, Outcome::Denied);
    }
}
