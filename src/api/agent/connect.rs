//! The requests that open the websockets: who requests, for which instance, and whether it may.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wharfinger_api_core::response::empty;
use wharfinger_api_core::{AuditTrail, AuditedRequest, Authorizer, RequestContext, ResponseInfo};
use wharfinger_aws::sigv4;
use wharfinger_ecs_protocol::limits::{ACS_AGENT_FRAME_BYTES, TCS_AGENT_FRAME_BYTES};
use wharfinger_ecs_protocol::{AcsParameters, TcsParameters};
use wharfinger_http::ConnectionUpgrade;
use wharfinger_iam::{EvaluationBudget, Signed};
use wharfinger_orchestrator::identifiers::instance_id;
use wharfinger_orchestrator::model::{AccountRegion, InstanceStatus};

use crate::connected_instance::ConnectedInstance;
use crate::error::Refusal;
use crate::permission::{Permission, may_act_for};
use crate::resource::InstanceResource;
use crate::socket::AgentSocket;
use crate::{AgentState, acs, tcs};

/// The operations, as IAM names their actions.
pub(crate) const POLL: &str = "Poll";
pub(crate) const START_TELEMETRY: &str = "StartTelemetrySession";

const SERVICE: &str = "ecs";
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// RFC 6455, the only version.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What an agent requests.
struct Wanted {
    operation: &'static str,
    cluster: String,
    instance: String,
}

pub(crate) async fn connect_acs(
    State(state): State<Arc<AgentState>>,
    context: RequestContext,
    request: Request<Body>,
) -> Response<Body> {
    let parsed = parameters::<AcsParameters>(&request);
    let wants = parsed.as_ref().ok();
    let wants = wants.and_then(|parsed| parsed.send_credentials.as_deref());
    let has_credentials = wants.is_some_and(|wants| wants.eq_ignore_ascii_case("false"));
    let wanted = parsed.map(|parsed| Wanted {
        operation: POLL,
        cluster: parsed.cluster_arn,
        instance: parsed.container_instance_arn,
    });
    let serve = move |state, socket, instance| async move {
        acs::serve(state, socket, instance, has_credentials).await;
    };
    connect(
        state,
        context,
        request,
        (POLL, wanted),
        ACS_AGENT_FRAME_BYTES,
        serve,
    )
    .await
}

pub(crate) async fn connect_tcs(
    State(state): State<Arc<AgentState>>,
    context: RequestContext,
    request: Request<Body>,
) -> Response<Body> {
    let wanted = parameters::<TcsParameters>(&request).map(|parsed| Wanted {
        operation: START_TELEMETRY,
        cluster: parsed.cluster,
        instance: parsed.container_instance,
    });
    let wanted = (START_TELEMETRY, wanted);
    connect(
        state,
        context,
        request,
        wanted,
        TCS_AGENT_FRAME_BYTES,
        tcs::serve,
    )
    .await
}

/// Checks the request, and switches to a websocket that `serve` gets.
async fn connect<F: Future<Output = ()> + Send + 'static>(
    state: Arc<AgentState>,
    context: RequestContext,
    request: Request<Body>,
    (operation, wanted): (&'static str, Result<Wanted, Refusal>),
    frame_bytes: usize,
    serve: impl FnOnce(Arc<AgentState>, AgentSocket, ConnectedInstance) -> F + Send + 'static,
) -> Response<Body> {
    let (mut head, _) = request.into_parts();
    let upgrade = ConnectionUpgrade::take(&mut head.extensions);
    let mut info = ResponseInfo {
        service: Some(SERVICE),
        ..ResponseInfo::of(operation)
    };
    let trail = AuditTrail::new(true);
    let accepted = async {
        let key = websocket_key(&head.headers)?;
        let missing = || Refusal::BadRequest("Websockets need HTTP/1.1.".to_owned());
        let upgrade = upgrade.ok_or_else(missing)?;
        let signed = authenticate(&state, &head, &trail).await?;
        info.caller = Some(signed.caller.arn().to_string());
        let admitted = context.admit_caller(&signed.caller);
        admitted.map_err(|_| Refusal::Throttled)?;
        let instance = authorize(&state, &context, &signed, wanted?, &trail).await?;
        let peer = context.origin().peer().ok_or(Refusal::TooMany)?;
        let session = state.limits.admit(peer).ok_or(Refusal::TooMany)?;
        Ok::<_, Refusal>((key, upgrade, instance, session))
    };
    let accepted = accepted.await;
    let error = accepted.as_ref().err();
    let error = error.map(|refusal| (refusal.code(), refusal.message()));
    let audited = AuditedRequest {
        service: SERVICE,
        operation,
        read_only: false,
        request: None,
        error: error
            .as_ref()
            .map(|(code, message)| (*code, message.as_str())),
        now: state.clock.now(),
    };
    trail.record(&state.audit, &context, || audited);
    match accepted {
        Ok((key, upgrade, instance, session)) => {
            tokio::spawn(async move {
                let _counted = session;
                match upgrade.stream().await {
                    Ok(stream) => {
                        let socket = AgentSocket::new(stream, frame_bytes).await;
                        serve(state, socket, instance).await;
                    }
                    Err(error) => tracing::debug!(%error, "an agent's connection ended early"),
                }
            });
            info.attach(switching(&key))
        }
        Err(refusal) => {
            if let Refusal::Index(cause) = &refusal {
                let request_id = context.request_id();
                tracing::error!(request_id, operation, %cause, "an agent cannot connect");
            }
            info.error_code = Some(refusal.code().to_owned());
            info.attach(refusal.into_response())
        }
    }
}

/// The key of the handshake (RFC 6455 section 4.2.1).
fn websocket_key(headers: &HeaderMap) -> Result<String, Refusal> {
    let wrong = || Refusal::BadRequest("This endpoint serves websockets only.".to_owned());
    let has_token = |name: HeaderName, token: &str| {
        let values = headers.get_all(name);
        let mut values = values.iter().filter_map(|value| value.to_str().ok());
        values.any(|value| {
            value
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(token))
        })
    };
    if !has_token(CONNECTION, "upgrade")
        || !has_token(UPGRADE, "websocket")
        || headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION)
    {
        return Err(wrong());
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(wrong)?;
    Ok(derive_accept_key(key.as_bytes()))
}

fn switching(accept_key: &str) -> Response<Body> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
    if let Ok(value) = HeaderValue::from_str(accept_key) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    }
    response
}

/// The members of the query.
fn parameters<T: DeserializeOwned>(request: &Request<Body>) -> Result<T, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let members: serde_json::Map<String, serde_json::Value> = pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    let parsed = serde_json::from_value(members.into());
    parsed.map_err(|error| Refusal::BadRequest(error.to_string()))
}

async fn authenticate(
    state: &AgentState,
    head: &Parts,
    trail: &AuditTrail,
) -> Result<Signed, Refusal> {
    let body_hash = sigv4::body_hash(&[]);
    let request = sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        authority: head.uri.authority().map(http::uri::Authority::as_str),
        body_hash: &body_hash,
    };
    let signed = async {
        let claim = state.iam.check_sigv4_head(&request).await?;
        state.iam.authenticate_sigv4(claim, &request).await
    };
    let signed = signed.await.map_err(|error| {
        if !error.is_internal() {
            trail.note_failed_sign_in(None);
        }
        Refusal::Credentials(error)
    })?;
    match signed.service.as_deref() {
        Some(service) if service != SERVICE && !state.iam.is_dev() => {
            let message = format!("Credential should be scoped to correct service: '{SERVICE}'.");
            Err(Refusal::AccessDenied(message))
        }
        _ => Ok(signed),
    }
}

/// Finds the instance, and decides whether the caller may connect for it.
async fn authorize(
    state: &AgentState,
    context: &RequestContext,
    signed: &Signed,
    wanted: Wanted,
    trail: &AuditTrail,
) -> Result<ConnectedInstance, Refusal> {
    let Wanted {
        operation,
        cluster,
        instance,
    } = wanted;
    let caller = &signed.caller;
    let region = signed.region.as_ref().unwrap_or(&state.default_region);
    let home = AccountRegion {
        account: caller.account,
        region: region.clone(),
    };
    let orchestrator = &state.orchestrator;
    let cluster = orchestrator.clusters.find(&home, Some(&cluster)).await?;
    let id = instance_id(&cluster.name, &instance).map_err(wharfinger_orchestrator::Error::from)?;
    let found = orchestrator.assignments.instance(&cluster, &id).await?;
    let resource = InstanceResource::new(&cluster.name, &id, found.as_ref());
    let authorizer = Authorizer {
        caller,
        origin: context.origin(),
        region: &home.region,
        now: state.clock.now(),
        budget: &EvaluationBudget::default(),
        trail,
    };
    let denied = |message: String| Refusal::AccessDenied(message);
    let action = format!("{SERVICE}:{operation}");
    let checked = authorizer.check(&action, &resource);
    checked.map_err(|refused| denied(refused.message))?;
    let Some(found) = found else {
        return Err(Refusal::NoSuchInstance);
    };
    if !may_act_for(&authorizer, &resource, &found) {
        let message = "Only the principal that registered a container instance may connect for it.";
        return Err(denied(message.to_owned()));
    }
    if found.status == InstanceStatus::Inactive {
        return Err(Refusal::InactiveInstance);
    }
    let password = state.iam.password_for(caller);
    let permission = Permission {
        action,
        origin: context.origin().clone(),
        region: home.region,
        password: password.map_err(Refusal::Credentials)?.token,
    };
    Ok(ConnectedInstance {
        cluster,
        id,
        permission,
    })
}
