//! The AWS gateway: one route for every AWS API.
//!
//! A request passes these steps in this order: its operation is found by its head, its key and time
//! are checked, its body is received within bounds, its signature is verified, its document is
//! parsed, and the operation decodes, authorises, runs and encodes. A request without a signature
//! reaches only operations that need none.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;
use wharfinger_audit::AuditLog;
use wharfinger_aws::sigv4::{self, SignatureError};
use wharfinger_aws::{AccountId, Family, Fault, Side, json, query};
use wharfinger_base::Clock;
use wharfinger_iam::{self as iam, Caller, Iam, Principal, Signed};

use crate::audit_trail::{AuditTrail, AuditedRequest};
use crate::authorization_message::message;
use crate::aws_errors::{DEFAULT_NAMESPACE, TARGET, aws_response, family, fault_response};
use crate::body_budget::{EncodedDocument, ReceiveBodyError, ReceivedBody};
use crate::mounted::{MountedOperation, MountedService};
use crate::names::Names;
use crate::observation::ResponseInfo;
use crate::operation_kind::reads;
use crate::request_context::RequestContext;
use crate::scope::RequestScope;
use crate::service::CallHead;

/// The largest body of a request whose head names no known operation, in bytes: a form of the Query
/// protocol, or a request that fails. IAM's longest policy document, of 131,072 characters up to
/// U+00FF, takes 786,432 bytes where every one is encoded.
const MAX_FORM_BYTES: usize = 800 * 1024;
/// The largest form without a signature, in bytes: it holds a token of an identity provider.
const MAX_UNSIGNED_FORM_BYTES: usize = 64 * 1024;

/// The header of a denial with the message for `DecodeAuthorizationMessage`. AWS appends such
/// messages to the texts of some services' errors; those of ECR, IAM and STS have none there.
const AUTHORIZATION_MESSAGE: HeaderName =
    HeaderName::from_static("x-wharfinger-authorization-message");

/// The services of the route, and what they share.
pub struct Gateway {
    pub services: Vec<MountedService>,
    pub iam: Arc<Iam>,
    pub names: Arc<Names>,
    pub clock: Clock,
    pub audit: AuditLog,
}

/// What is known of a request when it ends.
#[derive(Default)]
struct Outline {
    info: ResponseInfo,
    operation: Option<MountedOperation>,
    trail: Arc<AuditTrail>,
}

impl Gateway {
    /// The names of all operations.
    pub fn operation_names(&self) -> impl Iterator<Item = &'static str> {
        let services = self.services.iter();
        services.flat_map(MountedService::operation_names)
    }

    /// The route: `POST /`, and `GET /` for presigned requests.
    pub fn into_routes(self) -> Router {
        Router::new()
            .route("/", post(serve).get(serve))
            .with_state(Arc::new(self))
    }
}

async fn serve(
    State(state): State<Arc<Gateway>>,
    context: RequestContext,
    request: Request<Body>,
) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let family = family(&head.headers);
    let mut outline = Outline::default();
    let outcome = Box::pin(state.handle(&context, &head, &mut body, &mut outline)).await;
    let denial = outcome
        .is_err()
        .then(|| state.authorization_message(&outline));
    state.audit(&context, &outline, outcome.as_ref().err());
    let mut info = outline.info;
    let response = match outcome {
        Ok(document) => aws_response(StatusCode::OK, family, context.request_id(), document),
        Err(fault) => {
            if let Some(cause) = fault.cause() {
                tracing::error!(
                    request_id = context.request_id(),
                    operation = info.operation,
                    cause,
                    "an AWS request failed"
                );
            }
            info.error_code = Some(fault.code.to_string());
            let namespace = state.namespace(&head, &info);
            let mut response = fault_response(&fault, family, namespace, context.request_id());
            if let Some(message) = denial.flatten() {
                let headers = response.headers_mut();
                headers.insert(AUTHORIZATION_MESSAGE, message);
            }
            response
        }
    };
    info.attach(response)
}

impl Gateway {
    async fn handle(
        &self,
        context: &RequestContext,
        head: &Parts,
        body: &mut Body,
        outline: &mut Outline,
    ) -> Result<EncodedDocument, Fault> {
        let family = family(&head.headers);
        let iam = &self.iam;
        let target = self.target(head);
        outline.set_operation(target.clone());
        let claim = match iam.check_sigv4_head(&signed_parts(head, "")).await {
            Ok(claim) => claim,
            Err(iam::Error::MissingCredentials) if family == Family::Query => {
                return self.handle_unsigned(context, head, body, outline).await;
            }
            Err(error) => return Err(outline.authentication_fault(&error, head, family)),
        };
        let max_bytes = target
            .as_ref()
            .map_or(MAX_FORM_BYTES, |operation| operation.facts().max_body_bytes);
        let budget_id = claim.budget_id();
        let received = self.receive(context, head, body, budget_id, max_bytes);
        let received = received.await?;
        let body_hash = sigv4::body_hash(&received.bytes);
        let signed = iam
            .authenticate_sigv4(claim, &signed_parts(head, &body_hash))
            .await
            .map_err(|error| outline.authentication_fault(&error, head, family))?;
        outline.info.caller = Some(signed.caller.arn().to_string());
        context
            .admit_caller(&signed.caller)
            .map_err(|_| Fault::throttled(family))?;
        let (operation, document) = match family {
            Family::Json => {
                let operation = target.ok_or_else(|| self.unknown_target(head))?;
                (operation, json::document(&received.bytes)?)
            }
            Family::Query => self.form(head, &received.bytes, signed.service.as_deref())?,
        };
        outline.set_operation(Some(operation.clone()));
        self.check_signed_service(&operation, &signed)?;
        let call = self.call_head(context, signed, &outline.trail);
        if operation.facts().is_audited {
            outline.trail.note_caller(&call.caller, &call.scope.region);
        }
        drop(received.bytes);
        operation.run(call, document).await
    }

    /// Handles a form without a signature. Its sender is charged by its address alone.
    async fn handle_unsigned(
        &self,
        context: &RequestContext,
        head: &Parts,
        body: &mut Body,
        outline: &mut Outline,
    ) -> Result<EncodedDocument, Fault> {
        let missing = |fault: Fault| {
            if fault.status() == StatusCode::NOT_IMPLEMENTED.as_u16() {
                fault
            } else {
                Fault::missing_authentication(Family::Query)
            }
        };
        let received = self.receive(context, head, body, None, MAX_UNSIGNED_FORM_BYTES);
        let received = received.await?;
        let (operation, document) = self.form(head, &received.bytes, None).map_err(missing)?;
        outline.set_operation(Some(operation.clone()));
        if !operation.facts().is_unsigned {
            return Err(Fault::missing_authentication(Family::Query));
        }
        let anonymous = Caller::new(self.iam.account(), Principal::Anonymous, Arc::default());
        let signed = Signed {
            caller: Arc::new(anonymous),
            region: None,
            service: None,
        };
        let call = self.call_head(context, signed, &outline.trail);
        drop(received.bytes);
        let outcome = operation.run(call, document).await;
        if outcome
            .as_ref()
            .is_err_and(|fault| fault.side == Side::Sender)
        {
            // Unless a decision was made about the sender, its token proves nothing.
            outline.trail.note_failed_sign_in(None);
        }
        outcome
    }

    /// The XML namespace for a fault: that of the operation's service, else of the service that the
    /// request is signed for, rightly or not.
    fn namespace(&self, head: &Parts, info: &ResponseInfo) -> &'static str {
        let signed_for = || {
            let claim = sigv4::Claim::read(&signed_parts(head, ""));
            Some(claim.ok()??.credential.service)
        };
        let service = info.service.map(ToOwned::to_owned).or_else(signed_for);
        let mut models = self.services.iter().map(MountedService::model);
        models
            .find(|model| model.family == Family::Query && service.as_deref() == Some(model.name))
            .map_or(DEFAULT_NAMESPACE, |model| model.namespace)
    }

    /// The operation that the target header of a JSON request names.
    fn target(&self, head: &Parts) -> Option<MountedOperation> {
        let target = head.headers.get(TARGET)?.to_str().ok()?;
        let (prefix, name) = target.rsplit_once('.')?;
        self.services
            .iter()
            .filter(|service| service.model().family == Family::Json)
            .find(|service| service.model().target == prefix)?
            .find(name)
    }

    /// The fault for a target that no operation has.
    fn unknown_target(&self, head: &Parts) -> Fault {
        let target = head.headers.get(TARGET);
        let target = target.and_then(|target| target.to_str().ok());
        let target = target.unwrap_or_default();
        let models = self.services.iter().map(MountedService::model);
        let mut models = models.filter(|model| model.family == Family::Json);
        match target.rsplit_once('.') {
            Some((prefix, name))
                if models
                    .any(|model| model.target == prefix && model.unsupported.contains(&name)) =>
            {
                Fault::unsupported_operation(name)
            }
            _ => Fault::unknown_operation(Family::Json, target),
        }
    }

    /// Operation and members of a form. The service is the one that the request is signed for; an
    /// unsigned request gets the first one with such an operation.
    fn form(
        &self,
        head: &Parts,
        body: &[u8],
        signed_service: Option<&str>,
    ) -> Result<(MountedOperation, Value), Fault> {
        let form = if head.method == Method::GET || body.is_empty() {
            head.uri.query().unwrap_or_default().as_bytes()
        } else {
            body
        };
        let request = query::decode(form)?;
        let is_signed_for = |name| signed_service.is_none_or(|signed| signed == name);
        let services = self.services.iter();
        let mut services = services
            .filter(|service| service.model().family == Family::Query)
            .filter(|service| is_signed_for(service.model().name));
        let operation = services
            .clone()
            .find_map(|service| service.find(&request.action))
            .ok_or_else(|| {
                let action = request.action.as_str();
                if services.any(|service| service.model().unsupported.contains(&action)) {
                    Fault::unsupported_operation(action)
                } else {
                    Fault::unknown_operation(Family::Query, action)
                }
            })?;
        if !request.version.is_empty() && request.version != operation.model().version {
            let name = format!("{} for version {}", request.action, request.version);
            return Err(Fault::unknown_operation(Family::Query, &name));
        }
        Ok((operation, request.members))
    }

    /// Checks that the request is signed for the service of its operation.
    fn check_signed_service(
        &self,
        operation: &MountedOperation,
        signed: &Signed,
    ) -> Result<(), Fault> {
        let model = operation.model();
        match signed.service.as_deref() {
            Some(service) if service != model.name && !self.iam.is_dev() => {
                Err(SignatureError::Service(model.name).to_fault(model.family))
            }
            _ => Ok(()),
        }
    }

    /// Why the request was denied, sealed for `DecodeAuthorizationMessage`; `None` where no
    /// decision was against it.
    fn authorization_message(&self, outline: &Outline) -> Option<HeaderValue> {
        let (caller, denied) = outline.trail.denial()?;
        let account: AccountId = caller.account_id.as_deref()?.parse().ok()?;
        let messages = self.iam.authorization_messages();
        let encoded = messages.encode(account, &message(&caller, &denied));
        HeaderValue::from_str(&encoded).ok()
    }

    /// Records a request that has ended, where the audit log has it.
    fn audit(&self, context: &RequestContext, outline: &Outline, fault: Option<&Fault>) {
        let operation = outline.operation.as_ref();
        let name = operation.map_or("Unknown", |operation| operation.facts().name);
        let request = || AuditedRequest {
            service: operation.map_or("aws", |operation| operation.model().name),
            operation: name,
            read_only: reads(name),
            request: None,
            error: fault.map(|fault| (&*fault.code, fault.message.as_str())),
            now: self.clock.now(),
        };
        outline.trail.record(&self.audit, context, request);
    }

    fn call_head(
        &self,
        context: &RequestContext,
        signed: Signed,
        trail: &Arc<AuditTrail>,
    ) -> CallHead {
        let region = signed.region;
        let memory = context.reserve_response(signed.caller.budget_id());
        CallHead {
            scope: RequestScope {
                account: signed.caller.account,
                region: region.unwrap_or_else(|| self.names.region.clone()),
            },
            caller: signed.caller,
            origin: context.origin().clone(),
            memory: Mutex::new(memory),
            request_id: context.request_id().to_owned(),
            now: self.clock.now(),
            trail: Arc::clone(trail),
        }
    }

    /// Receives the body, up to `max_bytes`, while there is memory for it.
    async fn receive(
        &self,
        context: &RequestContext,
        head: &Parts,
        body: &mut Body,
        budget_id: Option<&str>,
        max_bytes: usize,
    ) -> Result<ReceivedBody, Fault> {
        let family = family(&head.headers);
        let declared = head.headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.is_some_and(|length| length > max_bytes) {
            return Err(Fault::too_large(max_bytes));
        }
        let received = context.receive_body(body, max_bytes, budget_id);
        received.await.map_err(|error| match error {
            ReceiveBodyError::TooLarge => Fault::too_large(max_bytes),
            ReceiveBodyError::Exhausted => Fault::unavailable(family),
            ReceiveBodyError::Malformed => Fault::serialization(error.to_string()),
            ReceiveBodyError::EndedEarly => Fault::body_ended(),
        })
    }
}

fn signed_parts<'a>(head: &'a Parts, body_hash: &'a str) -> sigv4::Request<'a> {
    sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        authority: head.uri.authority().map(http::uri::Authority::as_str),
        body_hash,
    }
}

impl Outline {
    fn set_operation(&mut self, operation: Option<MountedOperation>) {
        let facts = operation.as_ref().map(MountedOperation::facts);
        self.info.operation = facts.map(|facts| facts.name);
        let service = operation.as_ref().map(|operation| operation.model().name);
        // The head of a request of the Query protocol does not name it.
        self.info.service = service;
        self.trail = Arc::new(AuditTrail::new(facts.is_some_and(|facts| facts.is_audited)));
        self.operation = operation;
    }

    /// The fault for a request whose sender is not known. Credentials that are not valid are noted
    /// for the audit log.
    fn authentication_fault(&self, error: &iam::Error, head: &Parts, family: Family) -> Fault {
        if !error.is_internal() && *error != iam::Error::MissingCredentials {
            self.trail.note_failed_sign_in(named_access_key(head));
        }
        authentication_fault(error, family)
    }
}

/// The access key id that the signature of a request names.
fn named_access_key(head: &Parts) -> Option<&str> {
    let header = head.headers.get(http::header::AUTHORIZATION);
    let credential = match header {
        Some(header) => header.to_str().ok()?.split_once("Credential=")?.1,
        None => head.uri.query()?.split_once("X-Amz-Credential=")?.1,
    };
    credential.split(['/', '%', ',']).next()
}

fn authentication_fault(error: &iam::Error, family: Family) -> Fault {
    match error {
        iam::Error::MissingCredentials => Fault::missing_authentication(family),
        iam::Error::SessionExpired => Fault::expired_token(family),
        iam::Error::Signature(error) => error.to_fault(family),
        error if error.is_unavailable() => Fault::unavailable(family).with_cause(error),
        error if error.is_internal() => Fault::internal(family).with_cause(error),
        _ => Fault::unknown_key(family),
    }
}
