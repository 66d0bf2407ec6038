//! Policies that are replaced while requests are decided: what every state of them denies is never
//! allowed, however reads and writes meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::{Aws, Setup, TestServer, on};

/// Changes that each writer makes.
const CHANGES: usize = 120;

const GUARDED: &str = "arn:aws:iam::123456789012:policy/Guarded";
const GUARD: &str = "arn:aws:iam::123456789012:policy/Guard";
const EVERYTHING: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// Everything but the deletion of repositories.
const ALL_BUT_DELETION: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"*","Resource":"*"},
    {"Effect":"Deny","Action":"ecr:DeleteRepository","Resource":"*"}]}"#;
const READING: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Allow","Action":["ecr:Get*","ecr:List*"],"Resource":"*"}}"#;
const NO_DELETION: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Deny","Action":"ecr:DeleteRepository","Resource":"*"}}"#;

/// What readers saw.
#[derive(Default)]
struct Seen {
    denials: AtomicUsize,
    /// Requests of a kind that some states allow and others do not.
    allowed: AtomicUsize,
    refused: AtomicUsize,
}

/// A managed policy gets one default version after the other. The one before is deleted.
async fn replace_versions(root: Aws) {
    for at in 0..CHANGES {
        let document = [ALL_BUT_DELETION, READING][at % 2];
        let version = [
            ("PolicyArn", GUARDED),
            ("PolicyDocument", document),
            ("SetAsDefault", "true"),
        ];
        root.iam_ok("CreatePolicyVersion", &version).await;
        let before = format!("v{}", at + 1);
        let before = [("PolicyArn", GUARDED), ("VersionId", &before)];
        root.iam_ok("DeletePolicyVersion", &before).await;
    }
}

/// An inline policy is replaced, and sometimes deleted.
async fn put_inline(root: Aws) {
    let name = [("UserName", "ann"), ("PolicyName", "own")];
    for at in 0..CHANGES {
        let document = [READING, ALL_BUT_DELETION][at % 2];
        let put = [&name[..], &[("PolicyDocument", document)]].concat();
        root.iam_ok("PutUserPolicy", &put).await;
        if at % 3 == 2 {
            root.iam_ok("DeleteUserPolicy", &name).await;
        }
    }
}

/// All is allowed, but never without the policy that denies the deletion.
async fn swap_attachments(root: Aws) {
    let policy = |arn| [("UserName", "ann"), ("PolicyArn", arn)];
    for _ in 0..CHANGES / 2 {
        root.iam_ok("AttachUserPolicy", &policy(GUARD)).await;
        root.iam_ok("AttachUserPolicy", &policy(EVERYTHING)).await;
        root.iam_ok("DetachUserPolicy", &policy(EVERYTHING)).await;
        root.iam_ok("DetachUserPolicy", &policy(GUARD)).await;
    }
}

/// Sends what every state denies, and what some states allow.
async fn read(ann: &Aws, seen: &Seen) {
    let denied = ann.ecr("DeleteRepository", on("web", json!({}))).await;
    assert_eq!(denied.code(), "AccessDeniedException", "{denied:?}");
    seen.denials.fetch_add(1, Ordering::Relaxed);
    let mixed = ann.ecr("DescribeImages", on("web", json!({}))).await;
    let counter = match mixed.code() {
        "" => &seen.allowed,
        "AccessDeniedException" => &seen.refused,
        other => panic!("{other}: {mixed:?}"),
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sends them with one new key after the other, whose policies the server has not read before.
async fn read_with_new_keys(root: Aws, seen: Arc<Seen>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let made = root.iam_ok("CreateAccessKey", &[("UserName", "ann")]).await;
        let id = made.text("AccessKeyId");
        let mut ann = root.clone();
        ann.access_key_id.clone_from(&id);
        ann.secret = made.text("SecretAccessKey");
        read(&ann, &seen).await;
        let key = [("UserName", "ann"), ("AccessKeyId", id.as_str())];
        root.iam_ok("DeleteAccessKey", &key).await;
    }
}

/// Sends them with credentials that the server knows.
async fn read_again(ann: Aws, seen: Arc<Seen>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        read(&ann, &seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_policies_never_let_a_denied_request_through() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.ok("CreateRepository", on("web", json!({}))).await;
    for (name, document) in [("Guarded", READING), ("Guard", NO_DELETION)] {
        let new = [("PolicyName", name), ("PolicyDocument", document)];
        root.iam_ok("CreatePolicy", &new).await;
    }
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let guarded = [("UserName", "ann"), ("PolicyArn", GUARDED)];
    root.iam_ok("AttachUserPolicy", &guarded).await;
    let made = root.iam_ok("CreateAccessKey", &[("UserName", "ann")]).await;
    let mut ann = root.clone();
    ann.access_key_id = made.text("AccessKeyId");
    ann.secret = made.text("SecretAccessKey");
    let session = ann.with_session(&ann.sts("GetSessionToken", &[]).await);

    let (seen, done) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let readers = [
        tokio::spawn(read_with_new_keys(
            root.clone(),
            Arc::clone(&seen),
            Arc::clone(&done),
        )),
        tokio::spawn(read_again(ann, Arc::clone(&seen), Arc::clone(&done))),
        tokio::spawn(read_again(session, Arc::clone(&seen), Arc::clone(&done))),
    ];
    let writers = [
        tokio::spawn(replace_versions(root.clone())),
        tokio::spawn(put_inline(root.clone())),
        tokio::spawn(swap_attachments(root)),
    ];
    for writer in writers {
        writer.await.expect("a writer");
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("a reader");
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let counts = [&seen.denials, &seen.allowed, &seen.refused].map(count);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
