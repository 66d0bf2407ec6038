//! An operation of an AWS service is its request: what it holds, what it demands, and what it does.
//! A service is a table of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{Family, Fault, json, xml};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Call, Context, Demand};

/// Largest body of an operation that says nothing else, in bytes: 100 image identifiers of the
/// longest kind take some 50 KB.
const SMALL_BODY: usize = 1024 * 1024;

/// One operation, implemented on its request type.
pub trait Operation: DeserializeOwned + Send + Sync + 'static {
    /// As the service model has it, such as `DescribeImages`.
    const NAME: &'static str;
    /// Largest request body, in bytes.
    const MAX_BODY: usize = SMALL_BODY;
    type Output: Serialize + Send;

    /// The actions that the caller must be allowed, and on what; none where signing in is enough.
    ///
    /// # Errors
    /// A fault for a request that does not even say on what.
    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault>;

    /// Does it. `cx` exists only for callers who may.
    fn run(self, cx: &Context) -> impl Future<Output = Result<Self::Output, Fault>> + Send;
}

/// An answer under way: the encoded body, or the fault.
pub type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>> + Send>>;

/// An operation in a table, its type erased.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    pub max_body: usize,
    handle: fn(Call, Value) -> Answer,
}

impl Entry {
    #[must_use]
    pub const fn of<O: Operation>() -> Self {
        Self {
            name: O::NAME,
            max_body: O::MAX_BODY,
            handle: handle::<O>,
        }
    }

    /// Decodes, authorises, runs and encodes.
    pub fn answer(&self, call: Call, document: Value) -> Answer {
        (self.handle)(call, document)
    }
}

fn handle<O: Operation>(call: Call, document: Value) -> Answer {
    Box::pin(async move {
        let service = call.service;
        service.limits.check(O::NAME, &document)?;
        let operation: O = json::decode(document)?;
        let demands = operation.demands(&call.scope)?;
        let cx = call.authorise(demands).await?;
        let output = operation.run(&cx).await?;
        match service.family {
            Family::Json => json::encode(&output),
            Family::Query => xml::encode(O::NAME, service.namespace, &output, cx.request_id()),
        }
    })
}

/// Makes a table of operations.
macro_rules! operations {
    ($($operation:ty),* $(,)?) => { &[$($crate::api::operation::Entry::of::<$operation>()),*] };
}
pub(crate) use operations;

/// An AWS service as the gateway knows it.
#[derive(Debug)]
pub struct Service {
    /// The service's name in credential scopes and IAM actions.
    pub name: &'static str,
    pub family: Family,
    /// JSON: what stands before the dot in `X-Amz-Target`.
    pub target: &'static str,
    /// Query: the API version, and the XML namespace of answers.
    pub version: &'static str,
    pub namespace: &'static str,
    pub limits: &'static LazyLock<Limits>,
    pub operations: &'static [Entry],
}

impl Service {
    #[must_use]
    pub fn find(&self, operation: &str) -> Option<&'static Entry> {
        self.operations.iter().find(|entry| entry.name == operation)
    }
}
