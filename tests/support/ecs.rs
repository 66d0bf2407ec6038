//! A client of the ECS API.

use http::StatusCode;
use serde_json::Value;

use super::aws::{Aws, Outcome};

const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// One key, one region.
#[derive(Clone)]
pub(crate) struct Ecs(Aws);

impl Ecs {
    /// The same key, for ECS.
    pub(crate) fn of(aws: &Aws) -> Self {
        let mut aws = aws.clone();
        "ecs".clone_into(&mut aws.service);
        Self(aws)
    }

    /// The same key in another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        let mut aws = self.0.clone();
        region.clone_into(&mut aws.region);
        Self(aws)
    }

    /// The key and region.
    pub(crate) fn aws(&self) -> &Aws {
        &self.0
    }

    pub(crate) async fn call(&self, operation: &str, document: Value) -> Outcome {
        let target = format!("{TARGET}.{operation}");
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        let response = self.0.post(&headers, &document.to_string()).await;
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
            let outcome = this.call(&operation, document).await;
            let (status, document) = (outcome.status, outcome.document);
            assert_eq!(status, StatusCode::OK, "{operation}: {document}");
            document
        }
    }

    /// The same, for an operation that is refused with this code, and a message that contains
    /// `message`.
    pub(crate) async fn refused(
        &self,
        operation: &str,
        document: Value,
        code: &str,
        message: &str,
    ) {
        let outcome = self.call(operation, document).await;
        outcome.assert_fault(code, message);
    }
}
