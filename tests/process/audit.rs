//! The audit log: what is in it and what is not, and how it survives the end of a server.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Aws, Process, Setup, TestServer, command, on, run_ok};

const ACCOUNT: &str = "123456789012";
const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/web";
const PUSH: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
    {"Sid":"Push","Effect":"Allow","Action":["ecr:*Layer*","ecr:BatchGetImage","ecr:PutImage"],
     "Resource":"arn:aws:ecr:*:*:repository/web"},
    {"Sid":"NoTags","Effect":"Deny","Action":"ecr:PutImageTagMutability","Resource":"*"}]}"#;

const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

/// Runs `wharfinger audit --json` until it shows `count` records: the server writes them in the
/// background.
#[track_caller]
fn records(server: &TestServer, filter: &[&str], count: usize) -> Vec<Value> {
    let arguments = [&["audit", "--json"], filter].concat();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let printed = server.command(&arguments);
        let found: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        if found.len() == count {
            return found;
        }
        assert!(
            found.len() < count && Instant::now() < deadline,
            "{filter:?}: {printed}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn decisions(record: &Value) -> &Value {
    &record["additionalEventData"]["decisions"]
}

async fn with_repository(name: &str) -> (TestServer, Aws) {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.ok("CreateRepository", on(name, json!({}))).await;
    (server, root)
}

#[tokio::test]
async fn changes_are_recorded_with_the_statement_that_allowed_them() {
    let (server, _) = with_repository("web").await;
    let ci = server.user(ACCOUNT, "ci", PUSH).await;
    ci.push_image("web", "v1").await;
    let pulled = ci.get("/v2/web/manifests/v1").await;
    assert_eq!(pulled.status, StatusCode::OK);
    // Two blobs and a manifest; neither the parts of the uploads nor the pull.
    let records = records(&server, &["--user", "ci"], 3);
    let names: Vec<_> = records.iter().map(|one| &one["eventName"]).collect();
    assert_eq!(
        names,
        ["CompleteLayerUpload", "CompleteLayerUpload", "PutImage"]
    );
    let put = &records[2];
    assert_eq!(put["userIdentity"]["type"], "IAMUser");
    assert_eq!(put["userIdentity"]["userName"], "ci");
    assert_eq!(
        put["userIdentity"]["arn"],
        "arn:aws:iam::123456789012:user/ci"
    );
    for (member, expected) in [
        ("eventVersion", json!("1.08")),
        ("eventSource", json!("ecr.amazonaws.com")),
        ("awsRegion", json!("us-east-1")),
        ("sourceIPAddress", json!("127.0.0.1")),
        ("errorCode", Value::Null),
        ("requestParameters", Value::Null),
        ("responseElements", Value::Null),
        ("readOnly", json!(false)),
        ("resources", json!([{ "ARN": ARN }])),
        ("eventType", json!("AwsApiCall")),
        ("managementEvent", json!(true)),
        ("recipientAccountId", json!(ACCOUNT)),
    ] {
        assert_eq!(put[member], expected, "{member}");
    }
    assert_eq!(
        put["additionalEventData"]["request"],
        "PUT /v2/web/manifests/v1"
    );
    let decision = &decisions(put)[0];
    assert_eq!(decision["decision"], "allowed");
    assert_eq!(decision["action"], "ecr:PutImage");
    assert_eq!(decision["policyType"], "identity");
    assert_eq!(
        (&decision["statement"], &decision["sid"]),
        (&json!(1), &json!("Push"))
    );
    let table = server.command(&["audit", "--user", "ci", "--action", "ecr:PutImage"]);
    assert!(table.starts_with("TIME "), "{table}");
    assert!(
        table.contains(" allowed  ci ") && table.contains("statement 1 Push"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[tokio::test]
async fn refusals_name_what_refused() {
    let (server, _) = with_repository("web").await;
    let aws = server.aws_user(ACCOUNT, "ci", PUSH);
    aws.ecr("DescribeRepositories", json!({})).await;
    let mutability = json!({"imageTagMutability": "IMMUTABLE"});
    aws.ecr("PutImageTagMutability", on("web", mutability))
        .await;
    let other = server.user(ACCOUNT, "other", NOTHING).await;
    let pulled = other.get("/v2/web/manifests/v1").await;
    assert_eq!(pulled.status, StatusCode::FORBIDDEN);

    let denied = records(&server, &["--denied"], 3);
    assert_eq!(denied[0]["eventName"], "DescribeRepositories");
    assert_eq!(denied[0]["readOnly"], true);
    assert_eq!(denied[0]["errorCode"], "AccessDeniedException");
    let message = denied[0]["errorMessage"].as_str().expect("a message");
    assert!(
        message.contains("no identity-based policy allows"),
        "{message}"
    );
    assert_eq!(decisions(&denied[0])[0]["decision"], "implicitDeny");
    assert_eq!(decisions(&denied[0])[0]["policyType"], "identity");
    let explicit = &decisions(&denied[1])[0];
    assert_eq!(explicit["decision"], "explicitDeny");
    assert_eq!(
        (&explicit["statement"], &explicit["sid"]),
        (&json!(2), &json!("NoTags"))
    );
    assert_eq!(denied[2]["eventName"], "BatchGetImage");
    assert_eq!(denied[2]["errorCode"], "DENIED");
    assert_eq!(
        records(&server, &["--denied", "--user", "other"], 1),
        denied[2..]
    );
}

#[tokio::test]
async fn failed_sign_ins_are_recorded_without_what_was_sent() {
    const PASSWORD: &str = "correct-horse-battery-staple";
    let (server, root) = with_repository("web").await;
    let mut wrong = root.clone();
    wrong.secret = PASSWORD.to_owned();
    wrong.ecr("DescribeRepositories", json!({})).await;
    let mut pasted = root.clone();
    pasted.access_key_id = PASSWORD.to_owned();
    pasted.ecr("DescribeRepositories", json!({})).await;
    let docker = server.client().with_password(PASSWORD);
    assert_eq!(docker.get("/v2/").await.status, StatusCode::UNAUTHORIZED);
    // A challenge is no failure.
    let without = server.client().get("/v2/").await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    let failed = records(&server, &["--denied"], 3);
    for record in &failed {
        assert_eq!(record["userIdentity"]["type"], "Unknown");
        assert_eq!(record["additionalEventData"]["outcome"], "denied");
    }
    assert_eq!(failed[0]["userIdentity"]["accessKeyId"], root.access_key_id);
    assert_eq!(failed[0]["errorCode"], "InvalidSignatureException");
    assert_eq!(failed[1]["userIdentity"]["accessKeyId"], Value::Null);
    assert_eq!(failed[2]["errorCode"], "UNAUTHORIZED");
    assert_eq!(failed[2]["additionalEventData"]["request"], "GET /v2/");
    assert!(!log_of(server.folder()).contains(PASSWORD));
}

/// Everything that is written in the log.
fn log_of(folder: &Path) -> String {
    let files = fs::read_dir(folder.join("audit")).expect("a folder");
    files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"))
        .collect()
}

#[tokio::test]
async fn secrets_tokens_and_passwords_are_not_in_the_log() {
    let (server, root) = with_repository("web").await;
    let session = root.sts("GetSessionToken", &[]).await;
    let (secret, token) = (
        session.text("SecretAccessKey"),
        session.text("SessionToken"),
    );
    let temporary = root.with_session(&session);
    temporary.ok("CreateRepository", on("api", json!({}))).await;
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let key = root.iam_ok("CreateAccessKey", &[("UserName", "ann")]).await;
    let document = PUSH.replace("NoTags", "PolicyTextThatStaysInTheIndex");
    let policy = [
        ("UserName", "ann"),
        ("PolicyName", "own"),
        ("PolicyDocument", &document),
    ];
    root.iam_ok("PutUserPolicy", &policy).await;
    let password = server.root_password();
    server.root().push_image("web", "v1").await;

    let found = records(&server, &["--user", "root"], 9);
    let names: Vec<_> = found
        .iter()
        .map(|one| one["eventName"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "CreateRepository",
            "GetSessionToken",
            "CreateRepository",
            "CreateUser",
            "CreateAccessKey",
            "PutUserPolicy",
            "CompleteLayerUpload",
            "CompleteLayerUpload",
            "PutImage",
        ]
    );
    assert_eq!(
        found[2]["userIdentity"]["accessKeyId"],
        session.text("AccessKeyId")
    );
    assert_eq!(
        found[4]["resources"][0]["ARN"],
        "arn:aws:iam::123456789012:user/ann"
    );
    let log = log_of(server.folder());
    for kept_out in [
        root.secret.as_str(),
        &secret,
        &token,
        &key.text("SecretAccessKey"),
        &password,
        "PolicyTextThatStaysInTheIndex",
        "Signature=",
    ] {
        assert!(!log.contains(kept_out), "{kept_out}");
    }
}

#[tokio::test]
async fn a_stop_loses_no_record_and_a_kill_tears_one_line_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &["--dev"]);
    let client = || crate::support::Client::new(server.address.parse().expect("an address"));
    for at in 0..20 {
        client()
            .push_blob("web", format!("blob {at}").as_bytes())
            .await;
    }
    server.stop();
    let shown = |folder: &Path| run_ok(folder, &["audit", "--json"]).lines().count();
    // The first push made the repository, which is a part of the same request.
    assert_eq!(shown(folder.path()), 20);

    let files = fs::read_dir(folder.path().join("audit")).expect("a folder");
    let file = files.last().expect("a file").expect("a file").path();
    let mut text = fs::read_to_string(&file).expect("text");
    text.truncate(text.len() - 30);
    fs::write(&file, &text).expect("written");
    assert_eq!(shown(folder.path()), 19, "the torn line is left out");
    let server = Process::start(folder.path(), &["--dev"]);
    let client = crate::support::Client::new(server.address.parse().expect("an address"));
    client.push_blob("web", b"another").await;
    server.stop();
    assert_eq!(shown(folder.path()), 20);
}

#[tokio::test]
async fn the_log_can_be_off_and_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    Process::start(folder.path(), &["--dev", "--audit=false"]).stop();
    assert!(!folder.path().join("audit").exists());
    let output = command(folder.path())
        .args(["audit", "--audit=false"])
        .output();
    assert!(!output.expect("runs").status.success());
    for wrong in [
        "--audit-max-size=1",
        "--audit-max-size=1KiB",
        "--audit-max-age=1",
    ] {
        let output = command(folder.path()).args(["serve", wrong]).output();
        assert!(!output.expect("runs").status.success(), "{wrong}");
    }
}

#[tokio::test]
async fn records_are_followed_as_they_are_written() {
    use std::io::{BufRead as _, BufReader};
    let (server, root) = with_repository("web").await;
    records(&server, &[], 1);
    let mut follow = command(server.folder())
        .args([
            "audit",
            "--follow",
            "--json",
            "--action",
            "DeleteRepository",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    root.ok("DeleteRepository", on("web", json!({}))).await;
    let stdout = follow.stdout.take().expect("stdout");
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        line
    });
    let line = line.await.expect("read");
    follow.kill().expect("running");
    follow.wait().expect("ended");
    let record: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(record["eventName"], "DeleteRepository");
}

#[tokio::test]
async fn the_metrics_count_records() {
    let (server, _) = with_repository("web").await;
    records(&server, &[], 1);
    let metrics = server.client().send(Method::GET, "/metrics", &[], "").await;
    let text = String::from_utf8(metrics.body.to_vec()).expect("text");
    assert!(text.contains("wharfinger_audit_events_total 1\n"), "{text}");
    assert!(
        text.contains("wharfinger_audit_events_lost_total 0\n"),
        "{text}"
    );
}

#[tokio::test]
async fn the_debug_log_names_the_statement_that_refused() {
    let server = TestServer::start(Setup {
        arguments: &["--log-level=info,wharfinger_api_core=debug"],
        ..Setup::default()
    })
    .await;
    let root = server.aws();
    root.ok("CreateRepository", on("web", json!({}))).await;
    let ci = server.aws_user(ACCOUNT, "ci", PUSH);
    let mutability = json!({"imageTagMutability": "IMMUTABLE"});
    let outcome = ci.ecr("PutImageTagMutability", on("web", mutability)).await;
    assert_eq!(outcome.code(), "AccessDeniedException");
    let deadline = Instant::now() + Duration::from_secs(10);
    let line = loop {
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.contains("access denied")) {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for part in [
        "DEBUG",
        "caller=\"arn:aws:iam::123456789012:user/ci\"",
        "action=\"ecr:PutImageTagMutability\"",
        &format!("resource=\"{ARN}\""),
        "decision=\"explicitDeny\"",
        "policy_type=\"identity\"",
        "statement=2",
        "sid=\"NoTags\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
