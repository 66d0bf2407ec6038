//! `POST /`: the one way into every AWS service. Read, authenticate, find, decode, authorise, run,
//! encode.
//!
//! A JSON request names its operation in `X-Amz-Target`, a Query request in its form (or,
//! presigned, in the URL's query).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use wharfinger_api_core::{RequestContext, RequestScope, ResponseInfo};
use wharfinger_aws::sigv4::{self, Claim, SignatureError};
use wharfinger_aws::{Family, Fault, json, query, xml};
use wharfinger_http::RequestBodyError;
use wharfinger_iam::{self as iam, Signed};

use crate::api::context::Call;
use crate::api::operation::{Entry, Service};
use crate::api::{ecr, sts};
use crate::app::App;

/// Every service behind this door.
pub static SERVICES: [&Service; 2] = [&ecr::SERVICE, &sts::SERVICE];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TARGET: &str = "x-amz-target";

/// Largest body of a request that names no operation we know, in bytes: a form of the Query
/// protocol, or something to be refused.
const UNKNOWN_BODY: usize = 64 * 1024;
/// Bodies held in memory at once, in MiB: nine of the largest. Others wait for their turn.
const BODIES_MIB: u32 = 256;
static BODIES: Semaphore = Semaphore::const_new(BODIES_MIB as usize);
/// Bodies up to this size take no turn: a connection holds more than that anyway.
const FREE_BODY: usize = 64 * 1024;
/// How long a body may wait for its turn, and how long all of it may take to arrive.
const TURN_WAIT: Duration = Duration::from_secs(20);
const BODY_TIME: Duration = Duration::from_mins(5);

/// What a request asks for, as far as its head tells.
struct Asked {
    family: Family,
    /// JSON: service and operation of the target header.
    json: Option<(&'static Service, &'static Entry)>,
    /// JSON: the header as it came.
    target: Option<String>,
}

/// Answers one request to `/`.
pub async fn serve(
    app: &Arc<App>,
    context: &RequestContext,
    request: Request<Body>,
) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let request_id = context.request_id();
    let asked = Asked::of(&head);
    let mut answered = ResponseInfo {
        operation: asked.json.map(|(_, entry)| entry.name),
        ..ResponseInfo::default()
    };
    let outcome = answer(app, context, &head, &mut body, &asked, &mut answered).await;
    let (status, content_type, bytes) = match outcome {
        Ok(bytes) => (StatusCode::OK, content_type(asked.family), bytes),
        Err(fault) => {
            answered.error_code = Some(fault.code.to_string());
            let status =
                StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (
                status,
                content_type(asked.family),
                encode(&fault, asked.family, request_id),
            )
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response.extensions_mut().insert(answered);
    *response.body_mut() = Body::from(bytes);
    response
}

async fn answer(
    app: &Arc<App>,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
    asked: &Asked,
    answered: &mut ResponseInfo,
) -> Result<Vec<u8>, Fault> {
    let (family, request_id) = (asked.family, context.request_id());
    // Before a byte of the body is taken in: is there a signature at all, and can it be read?
    if !app.iam.is_dev() {
        match Claim::read(&signed_parts(head, "")) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Fault::missing_authentication(family)),
            Err(error) => return Err(error.to_fault(family)),
        }
    }
    let limit = asked.json.map_or(UNKNOWN_BODY, |(_, entry)| entry.max_body);
    let (body, _turn) = read(head, body, limit, family).await?;
    let body_hash = if app.iam.is_dev() {
        String::new()
    } else {
        sigv4::body_hash(&body)
    };
    let signed = app
        .iam
        .authenticate_sigv4(&signed_parts(head, &body_hash))
        .await
        .map_err(|error| refused(&error, family, request_id))?;
    answered.caller = Some(signed.caller.arn().to_string());
    context
        .admit_caller(&signed.caller)
        .map_err(|_| Fault::throttled(family))?;
    let (service, entry, document) = match family {
        Family::Json => {
            let named = asked.target.as_deref().unwrap_or_default();
            let (service, entry) = asked
                .json
                .ok_or_else(|| Fault::unknown_operation(family, named))?;
            (service, entry, json::document(&body)?)
        }
        Family::Query => from_form(head, &body, &signed)?,
    };
    drop(body);
    answered.operation = Some(entry.name);
    if signed
        .service
        .as_deref()
        .is_some_and(|signed| signed != service.name)
        && !app.iam.is_dev()
    {
        return Err(SignatureError::Service(service.name).to_fault(family));
    }
    let scope = RequestScope {
        account: signed.caller.account,
        region: signed
            .region
            .unwrap_or_else(|| app.config.names.region.clone()),
    };
    let call = Call {
        app: app.clone(),
        caller: signed.caller,
        scope,
        service,
        request_id: request_id.to_owned(),
        origin: context.origin().clone(),
    };
    entry.answer(call, document).await
}

impl Asked {
    fn of(head: &Parts) -> Self {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(target) = header(TARGET) else {
            let json = header("content-type").is_some_and(|kind| {
                kind.starts_with("application/x-amz-json") || kind.starts_with("application/json")
            });
            return Self {
                family: if json { Family::Json } else { Family::Query },
                json: None,
                target: None,
            };
        };
        let found = target.rsplit_once('.').and_then(|(prefix, operation)| {
            let service = SERVICES
                .into_iter()
                .find(|service| service.family == Family::Json && service.target == prefix)?;
            service.find(operation).map(|entry| (service, entry))
        });
        Self {
            family: Family::Json,
            json: found,
            target: Some(target.to_owned()),
        }
    }
}

/// Service and operation of a form, and its members. The service is the one that the request is
/// signed for; an unsigned request (under `--dev`) gets the one that has such an operation.
fn from_form(
    head: &Parts,
    body: &Bytes,
    signed: &Signed,
) -> Result<(&'static Service, &'static Entry, Value), Fault> {
    let form = if head.method == Method::GET || body.is_empty() {
        head.uri.query().unwrap_or_default().as_bytes()
    } else {
        &body[..]
    };
    let request = query::decode(form)?;
    let unknown = || Fault::unknown_operation(Family::Query, &request.action);
    let mut services = SERVICES
        .into_iter()
        .filter(|service| service.family == Family::Query);
    let found = services.find_map(|service| {
        let meant = signed
            .service
            .as_deref()
            .is_none_or(|signed| signed == service.name);
        let entry = service.find(&request.action).filter(|_| meant)?;
        Some((service, entry))
    });
    let (service, entry) = found.ok_or_else(unknown)?;
    if !request.version.is_empty() && request.version != service.version {
        return Err(Fault::unknown_operation(
            Family::Query,
            &format!("{} for version {}", request.action, request.version),
        ));
    }
    Ok((service, entry, request.members))
}

/// Takes the body in, up to `limit` bytes, when there is room for it.
async fn read(
    head: &Parts,
    body: &mut Body,
    limit: usize,
    family: Family,
) -> Result<(Bytes, Option<SemaphorePermit<'static>>), Fault> {
    let declared = http_body::Body::size_hint(body).exact().or_else(|| {
        head.headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    });
    let expected = declared.map_or(limit, |length| {
        usize::try_from(length).unwrap_or(usize::MAX)
    });
    if expected > limit {
        return Err(Fault::too_large(limit));
    }
    let turn = if expected <= FREE_BODY {
        None
    } else {
        let mib = u32::try_from(expected.div_ceil(1024 * 1024))
            .unwrap_or(BODIES_MIB)
            .min(BODIES_MIB);
        let turn = tokio::time::timeout(TURN_WAIT, BODIES.acquire_many(mib)).await;
        Some(
            turn.ok()
                .and_then(Result::ok)
                .ok_or_else(|| Fault::unavailable(family))?,
        )
    };
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok((collected.to_bytes(), turn)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::too_large(limit)),
        Ok(Err(error)) => match RequestBodyError::find(&*error) {
            Some(RequestBodyError::Malformed) => {
                Err(Fault::serialization("the request's body is malformed"))
            }
            _ => Err(Fault::body_ended()),
        },
        Err(_elapsed) => Err(Fault::body_ended()),
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

fn refused(error: &iam::Error, family: Family, request_id: &str) -> Fault {
    match error {
        iam::Error::MissingCredentials => Fault::missing_authentication(family),
        iam::Error::Signature(error) => error.to_fault(family),
        error if error.is_internal() => {
            tracing::error!(request_id, %error, "a caller could not be looked up");
            Fault::internal(family)
        }
        _ => Fault::unknown_key(family),
    }
}

const fn content_type(family: Family) -> &'static str {
    match family {
        Family::Json => json::CONTENT_TYPE,
        Family::Query => xml::CONTENT_TYPE,
    }
}

/// Before a Query service is known, faults are written as STS writes them: it is the one that
/// clients ask first.
fn encode(fault: &Fault, family: Family, request_id: &str) -> Vec<u8> {
    match family {
        Family::Json => json::fault(fault),
        Family::Query => xml::fault(fault, sts::SERVICE.namespace, request_id),
    }
}
