//! Measures the authentication of a signed AWS request without the rest of the request:
//! microseconds for a known key, in the fastest of many rounds.
//!
//! `cargo run --release -p wharfinger-iam --example authentication`

use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use wharfinger_aws::sigv4::{Request, body_hash, date, sign};
use wharfinger_base::{Clock, Ids};
use wharfinger_db::Db;
use wharfinger_iam::{Config, Iam, MIGRATIONS, MasterKey, NewAccessKey};

const BODY: &[u8] = br#"{"repositoryNames":["team/web"]}"#;
/// Other load on the machine disturbs most rounds, but not the fastest one.
const ROUNDS: u32 = 200;
const REQUESTS: u32 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (clock, ids) = (Clock::System, Ids::default());
    let folder = tempfile::tempdir()?;
    let master = MasterKey::open_or_create(&folder.path().join("key"), &ids)?;
    let db = Db::memory(MIGRATIONS)?;
    let iam = Iam::open(db, &master, clock.clone(), ids, Config::default()).await?;
    let key = iam.bootstrap().await?.ok_or("the root has a key")?;
    let headers = describe_repositories(&key, &clock)?;

    let (mut head, mut body, mut signature) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let mut claims = Vec::new();
        let started = Instant::now();
        for _ in 0..REQUESTS {
            claims.push(iam.check_sigv4_head(&request(&headers, "")).await?);
        }
        head = head.min(started.elapsed());

        let mut hash = String::new();
        let started = Instant::now();
        for _ in 0..REQUESTS {
            hash = body_hash(BODY);
        }
        body = body.min(started.elapsed());

        let started = Instant::now();
        for claim in claims {
            let request = request(&headers, &hash);
            iam.authenticate_sigv4(claim, &request).await?;
        }
        signature = signature.min(started.elapsed());
    }
    for (what, time) in [
        ("head", head),
        ("hash of the body", body),
        ("signature", signature),
        ("together", head + body + signature),
    ] {
        let micros = time.as_secs_f64() * 1e6 / f64::from(REQUESTS);
        writeln!(std::io::stdout(), "{what:<16} {micros:6.2} us")?;
    }
    Ok(())
}

/// The headers of a signed `DescribeRepositories`, as clients send them.
fn describe_repositories(key: &NewAccessKey, clock: &Clock) -> Result<HeaderMap, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories";
    for (name, value) in [
        ("host", "registry.test"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-amz-date", date(clock.now()).parse()?);
    let signed = sign(
        &request(&headers, &body_hash(BODY)),
        &key.access_key_id,
        key.secret_access_key.reveal(),
        "us-east-1",
        "ecr",
    );
    headers.insert("authorization", signed.ok_or("no date")?.parse()?);
    Ok(headers)
}

fn request<'a>(headers: &'a HeaderMap, body_hash: &'a str) -> Request<'a> {
    Request {
        method: "POST",
        path: "/",
        query: "",
        headers,
        authority: None,
        body_hash,
    }
}
