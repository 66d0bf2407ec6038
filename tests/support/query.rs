//! Requests of the AWS Query protocol, and their responses in XML.

use std::fmt::Write as _;

use http::StatusCode;

use super::aws::Aws;

/// A response of the Query protocol.
#[derive(Debug)]
pub(crate) struct QueryOutcome {
    pub(crate) status: StatusCode,
    pub(crate) document: String,
}

impl Aws {
    /// Calls an operation of STS.
    pub(crate) async fn sts(&self, operation: &str, members: &[(&str, &str)]) -> QueryOutcome {
        let mut form = format!("Action={operation}&Version=2011-06-15");
        for (name, value) in members {
            form.extend(["&", name, "=", &form_encoded(value)]);
        }
        let mut signer = self.clone();
        "sts".clone_into(&mut signer.service);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let response = signer.post(&headers, &form).await;
        QueryOutcome {
            status: response.status,
            document: String::from_utf8(response.body.to_vec()).expect("text"),
        }
    }

    /// Calls an operation of IAM.
    pub(crate) fn iam(
        &self,
        action: &str,
        members: &[(&str, &str)],
    ) -> impl Future<Output = QueryOutcome> + use<> {
        let mut form = format!("Action={action}&Version=2010-05-08");
        for (name, value) in members {
            form.extend(["&", name, "=", &form_encoded(value)]);
        }
        let mut this = self.clone();
        "iam".clone_into(&mut this.service);
        async move {
            let form_type = ("content-type", "application/x-www-form-urlencoded");
            let response = this.post(&[form_type], &form).await;
            QueryOutcome {
                status: response.status,
                document: String::from_utf8(response.body.to_vec()).expect("text"),
            }
        }
    }

    /// The same, for an operation that must succeed.
    #[track_caller]
    pub(crate) fn iam_ok(
        &self,
        action: &str,
        members: &[(&str, &str)],
    ) -> impl Future<Output = QueryOutcome> + use<> {
        let (outcome, action) = (self.iam(action, members), action.to_owned());
        async move {
            let outcome = outcome.await;
            assert_eq!(
                outcome.status,
                StatusCode::OK,
                "{action}: {}",
                outcome.document
            );
            outcome
        }
    }

    /// A client with the credentials of this response.
    pub(crate) fn with_session(&self, credentials: &QueryOutcome) -> Self {
        let mut session = self.clone();
        session.access_key_id = credentials.text("AccessKeyId");
        session.secret = credentials.text("SecretAccessKey");
        session.session_token = Some(credentials.text("SessionToken"));
        session
    }
}

impl QueryOutcome {
    /// The texts of all elements of this name that hold no others.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.document.split(&start).skip(1);
        parts
            .map(|part| part.split(&end).next().unwrap_or_default())
            .collect()
    }

    /// The text of the first element of this name.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> &str {
        let found = self.all(name);
        found
            .first()
            .unwrap_or_else(|| panic!("no {name} in {}", self.document))
    }

    /// The text of the first element of this name.
    #[track_caller]
    pub(crate) fn text(&self, element: &str) -> String {
        let open = format!("<{element}>");
        let found = self.document.split_once(&open).map(|(_, rest)| rest);
        let text = found.and_then(|rest| rest.split_once("</"));
        text.unwrap_or_else(|| panic!("no {element} in {}", self.document))
            .0
            .to_owned()
    }

    /// The message, where the caller was denied permission.
    pub(crate) fn denial(&self) -> Option<String> {
        let is_denied = self.all("Code") == ["AccessDenied"];
        is_denied.then(|| self.text("Message"))
    }

    #[track_caller]
    pub(crate) fn assert_fault(&self, status: u16, code: &str, message: &str) {
        assert_eq!(
            (self.status.as_u16(), self.text("Code")),
            (status, code.to_owned()),
            "{}",
            self.document
        );
        let found = self.text("Message");
        assert!(found.contains(message), "{found} does not say {message:?}");
    }
}

/// A value of a form: everything but letters and digits as `%XX`.
fn form_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
