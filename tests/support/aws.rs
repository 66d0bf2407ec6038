//! A client of the AWS APIs that signs what it sends.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, Response};
use super::server::TestServer;
use super::signature::{authorization, authorization_of};

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";

/// An access key, as the program prints it.
#[derive(Clone)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// One key, one region.
#[derive(Clone)]
pub(crate) struct Aws {
    client: Client,
    pub(crate) address: SocketAddr,
    /// How long before now its requests are dated.
    pub(crate) age: Duration,
    pub(crate) access_key_id: String,
    pub(crate) secret: String,
    /// Where the key is one of a session.
    pub(crate) session_token: Option<String>,
    pub(crate) region: String,
    pub(crate) service: String,
}

/// Status and document of a response.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) document: Value,
}

impl Aws {
    pub(crate) fn new(server: &TestServer, key: &AccessKey) -> Self {
        Self {
            client: server.client(),
            address: server.address,
            age: Duration::ZERO,
            access_key_id: key.id.clone(),
            secret: key.secret.clone(),
            session_token: None,
            region: "us-east-1".to_owned(),
            service: "ecr".to_owned(),
        }
    }

    /// Calls an operation of ECR, signed for the service of this client, which is ECR unless a test
    /// changed it.
    pub(crate) async fn ecr(&self, operation: &str, document: Value) -> Outcome {
        self.json(&self.service, TARGET, operation, document).await
    }

    /// Calls an operation of a service that speaks JSON.
    pub(crate) async fn json(
        &self,
        service: &str,
        target: &str,
        operation: &str,
        document: Value,
    ) -> Outcome {
        let target = format!("{target}.{operation}");
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        let mut signer = self.clone();
        service.clone_into(&mut signer.service);
        let response = signer.post(&headers, &document.to_string()).await;
        Outcome {
            status: response.status,
            document: serde_json::from_slice(&response.body).expect("JSON"),
        }
    }

    /// The same, for an operation that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, operation: &str, document: Value) -> impl Future<Output = Value> {
        let (this, operation) = (self.clone(), operation.to_owned());
        async move {
            let outcome = this.ecr(&operation, document).await;
            assert_eq!(
                outcome.status,
                StatusCode::OK,
                "{operation}: {}",
                outcome.document
            );
            outcome.document
        }
    }

    /// A signed POST to `/`.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: &str) -> Response {
        let signed = self.signed(headers, body);
        let headers: Vec<(&str, &str)> = signed
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect();
        self.client
            .send(Method::POST, "/", &headers, body.to_owned())
            .await
    }

    /// The headers, with date and signature.
    pub(crate) fn signed(&self, headers: &[(&str, &str)], body: &str) -> HeaderMap {
        let mut map = self.dated(headers);
        let value = authorization(self, &map, body);
        map.insert(
            "authorization",
            HeaderValue::from_str(&value).expect("a value"),
        );
        map
    }

    /// Date and signature of a GET without a body. The query is in its canonical form.
    pub(crate) fn signed_get(&self, path: &str, query: &str) -> HeaderMap {
        let mut map = self.dated(&[]);
        let target = format!("GET\n{path}\n{query}");
        let value = authorization_of(self, &target, &map, "");
        map.insert(
            "authorization",
            HeaderValue::from_str(&value).expect("a value"),
        );
        map
    }

    fn dated(&self, headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        let date = (now() - self.age).strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.address.to_string();
        let token = self.session_token.as_deref();
        for (name, value) in headers
            .iter()
            .copied()
            .chain([("x-amz-date", date.as_str()), ("host", &host)])
            .chain(token.map(|token| ("x-amz-security-token", token)))
        {
            map.insert(
                HeaderName::try_from(name).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        map
    }
}

impl Outcome {
    /// The code of a fault.
    pub(crate) fn code(&self) -> &str {
        self.document["__type"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.document["message"].as_str().unwrap_or_default()
    }

    /// Code and message of a fault with status 400.
    #[track_caller]
    pub(crate) fn assert_fault(&self, code: &str, message: &str) {
        assert_eq!(
            (self.status, self.code()),
            (StatusCode::BAD_REQUEST, code),
            "{}",
            self.document
        );
        assert!(
            self.message().contains(message),
            "{} does not say {message:?}",
            self.message()
        );
    }

    #[track_caller]
    pub(crate) fn assert_denied(&self, action: &str, because: &str) {
        self.assert_fault(
            "AccessDeniedException",
            &format!("is not authorized to perform: {action} on resource: "),
        );
        assert!(
            self.message().ends_with(because),
            "{} does not end with {because:?}",
            self.message()
        );
    }
}

/// The time of the client.
#[expect(
    clippy::disallowed_methods,
    reason = "clients have the clock of their own machine"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A time as the AWS JSON protocol writes it: seconds since the epoch.
pub(crate) fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// `{"repositoryName": name}` and further members.
pub(crate) fn on(name: &str, more: Value) -> Value {
    let mut document = json!({ "repositoryName": name });
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    document
}
