//! What users of this server do not have: MFA devices, passwords, and certificates and keys of
//! other services.

use crate::support::{ACCOUNT, Aws, Setup, TestServer};

/// Listings about a user, with the member of the response that they fill.
const LISTINGS: [(&str, &str); 4] = [
    ("ListMFADevices", "MFADevices"),
    ("ListSigningCertificates", "Certificates"),
    (
        "ListServiceSpecificCredentials",
        "ServiceSpecificCredentials",
    ),
    ("ListSSHPublicKeys", "SSHPublicKeys"),
];
const OWN: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":["iam:List*","iam:*LoginProfile"],
    "Resource":"arn:aws:iam::123456789012:user/${aws:username}"}]}"#;

async fn assert_empty(caller: &Aws, action: &str, element: &str, members: &[(&str, &str)]) {
    let listed = caller.iam_ok(action, members).await;
    assert_eq!(listed.one("IsTruncated"), "false", "{action}");
    let document = &listed.document;
    let empty = [format!("<{element}/>"), format!("<{element}></{element}>")];
    assert!(empty.iter().any(|one| document.contains(one)), "{document}");
}

#[tokio::test]
async fn users_have_none_of_them() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "Ann")]).await;
    for (action, element) in LISTINGS {
        assert_empty(&root, action, element, &[("UserName", "ann")]).await;
        assert_empty(&root, action, element, &[]).await;
        let refused = root.iam(action, &[("UserName", "nobody")]).await;
        let message = "The user with name nobody cannot be found.";
        refused.assert_fault(404, "NoSuchEntity", message);
        let marker = [("UserName", "ann"), ("Marker", "nothing")];
        let refused = root.iam(action, &marker).await;
        refused.assert_fault(400, "ValidationError", "Invalid Marker.");
    }
    let all = [
        ("AllUsers", "true"),
        ("ServiceName", "codecommit.amazonaws.com"),
    ];
    let (action, element) = LISTINGS[2];
    assert_empty(&root, action, element, &all).await;
    let both = [all[0], ("UserName", "ann")];
    let refused = root.iam(action, &both).await;
    refused.assert_fault(400, "ValidationError", "AllUsers");
    let assigned = [("AssignmentStatus", "Assigned")];
    let action = "ListVirtualMFADevices";
    assert_empty(&root, action, "VirtualMFADevices", &assigned).await;
    let wrong = [("AssignmentStatus", "Lost")];
    let refused = root.iam(action, &wrong).await;
    refused.assert_fault(400, "ValidationError", "assignmentStatus");
    for action in ["GetLoginProfile", "DeleteLoginProfile"] {
        for (name, message) in [
            ("ann", "Login Profile for User Ann cannot be found."),
            ("nobody", "The user with name nobody cannot be found."),
        ] {
            let refused = root.iam(action, &[("UserName", name)]).await;
            refused.assert_fault(404, "NoSuchEntity", message);
        }
        let refused = root.iam(action, &[]).await;
        refused.assert_fault(400, "ValidationError", "Must specify userName");
    }
}

#[tokio::test]
async fn a_caller_reads_those_of_users_that_its_policies_allow() {
    let server = TestServer::start(Setup::default()).await;
    let ann = server.aws_user(ACCOUNT, "ann", OWN);
    server.aws_user(ACCOUNT, "bob", OWN);
    for (action, element) in LISTINGS {
        assert_empty(&ann, action, element, &[]).await;
        assert_empty(&ann, action, element, &[("UserName", "ann")]).await;
        let refused = ann.iam(action, &[("UserName", "bob")]).await;
        refused.assert_fault(403, "AccessDenied", action);
    }
    for action in ["GetLoginProfile", "DeleteLoginProfile"] {
        let refused = ann.iam(action, &[]).await;
        refused.assert_fault(404, "NoSuchEntity", "Login Profile for User ann");
        let refused = ann.iam(action, &[("UserName", "bob")]).await;
        refused.assert_fault(403, "AccessDenied", action);
    }
    let all = [("AllUsers", "true")];
    let refused = ann.iam("ListServiceSpecificCredentials", &all).await;
    refused.assert_fault(403, "AccessDenied", "ListServiceSpecificCredentials");
    let refused = ann.iam("ListVirtualMFADevices", &[]).await;
    refused.assert_fault(403, "AccessDenied", "ListVirtualMFADevices");
}
