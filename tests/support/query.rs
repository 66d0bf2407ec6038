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
