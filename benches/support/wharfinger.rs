//! Our server, as it is meant to be run: signed in with Basic, a policy on the user and on the
//! repository, everything fsynced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use base64::Engine as _;

use super::arguments::{Arguments, Scale};
use super::content::{BIG, SMALL, sha256};
use super::process::Process;
use super::seed;
use super::server::{Server, free_address};
use super::sign::{AccessKey, ecr_call, query_call};
use super::stores::Stores;

const TERMS: &str = "Basic + user and repository policy; fsync of file and folder, SQLite FULL";
const REMOTE_TERMS: &str = "Basic + user and repository policy; PostgreSQL with fsync, S3";

/// The file of a data folder with the key that secrets in the index are sealed with.
const MASTER_KEY: &str = "key";

/// What the benchmark's user may do: push and pull. Making repositories is left to the root.
const USER_POLICY: &str = "AmazonEC2ContainerRegistryPowerUser";

/// Repositories that rows push to, beside `BIG`; each is made with a policy.
pub(crate) const REPOSITORIES: [&str; 3] = [SMALL, "empty", "blobs"];

/// A repository policy that each request has to be matched against: foreign accounts may pull,
/// nobody may delete over plain foreign hands.
const REPOSITORY_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
  {"Sid":"pull","Effect":"Allow","Principal":{"AWS":["111122223333",
      "arn:aws:iam::444455556666:root"]},
   "Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer","ecr:BatchCheckLayerAvailability"]},
  {"Sid":"keep","Effect":"Deny","Principal":"*","Action":["ecr:DeleteRepository",
      "ecr:BatchDeleteImage"],
   "Condition":{"StringNotEquals":{"aws:PrincipalAccount":"123456789012"}}}]}"#;

/// The name of another build of our server in tables, and of its folder.
pub(crate) const OTHER: &str = "other";

/// The binary under measurement: `WHARFINGER_BENCH_BINARY`, else the one that Cargo built for this
/// program.
fn binary() -> PathBuf {
    std::env::var_os("WHARFINGER_BENCH_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_wharfinger").into(), PathBuf::from)
}

/// Starts the server on `data`; what it prints goes beside that folder.
fn start_on(stores: &Stores, data: &Path) -> anyhow::Result<Server> {
    launch("wharfinger", binary(), stores, &[], data)
}

fn launch(
    name: &'static str,
    binary: PathBuf,
    stores: &Stores,
    more: &[String],
    data: &Path,
) -> anyhow::Result<Server> {
    let address = free_address()?;
    let folder = data
        .parent()
        .context("a data folder has a parent")?
        .to_owned();
    let (data, log, output) = (data.to_owned(), folder.join("log"), folder.join("output"));
    let options = [stores.options(), more.to_vec()].concat();
    let launch = move || {
        let mut command = Command::new(&binary);
        // All defaults: no rate limit, no access log.
        command
            .args(["serve", "--listen", &address.to_string(), "--data-dir"])
            .arg(&data)
            .args(&options)
            .env("WHARFINGER_LOG_LEVEL", "error");
        Process::spawn(&mut command, &log, &output)
    };
    let terms = if stores.are_remote() {
        REMOTE_TERMS
    } else {
        TERMS
    };
    Server::start(name, terms, address, "/v2/", Box::new(launch))
}

/// A server over a seeded index, signed in as the benchmark's user. On local stores the seeded
/// folder is made once, cached and copied.
pub(crate) fn start(arguments: &Arguments, folder: &Path) -> anyhow::Result<Server> {
    match arguments.stores {
        Stores::Local => copy_folder(&seeded_folder(arguments, arguments.scale)?, folder)?,
        Stores::Remote(_) => fill(&arguments.stores, arguments.scale, folder)?,
    }
    sign_in(start_on(&arguments.stores, &folder.join("data"))?, folder)
}

/// A server on a local disk over a seeded index of another size, signed in as the benchmark's user.
pub(crate) fn start_scaled(
    arguments: &Arguments,
    scale: Scale,
    folder: &Path,
) -> anyhow::Result<Server> {
    copy_folder(&seeded_folder(arguments, scale)?, folder)?;
    sign_in(start_on(&Stores::Local, &folder.join("data"))?, folder)
}

/// A server on a local disk with these options, over what is in `folder` from an earlier start of
/// one: not signed in.
pub(crate) fn start_with(folder: &Path, options: &[&str]) -> anyhow::Result<Server> {
    fs::create_dir_all(folder)?;
    let options: Vec<_> = options.iter().map(ToString::to_string).collect();
    let data = folder.join("data");
    let had_data = data.exists();
    let mut server = launch("wharfinger", binary(), &Stores::Local, &options, &data)?;
    if !had_data {
        // The output of later starts replaces this one.
        fs::copy(folder.join("output"), folder.join("root"))?;
    }
    let key = root_key(folder)?;
    server.headers = format!("Authorization: Basic {}\r\n", password(&server, &key)?);
    Ok(server)
}

/// A command of the program on the data of a folder.
pub(crate) fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(words)
        .arg("--data-dir")
        .arg(folder.join("data"));
    command
}

/// Another build of the server, over a copy of the seeded index: on local stores only.
pub(crate) fn start_other(
    arguments: &Arguments,
    binary: &Path,
    folder: &Path,
) -> anyhow::Result<Server> {
    ensure!(!arguments.stores.are_remote(), "--against has no --remote");
    let folder = folder.join(OTHER);
    copy_folder(&seeded_folder(arguments, arguments.scale)?, &folder)?;
    let server = launch(
        OTHER,
        binary.into(),
        &arguments.stores,
        &[],
        &folder.join("data"),
    )?;
    sign_in(server, &folder)
}

/// Signs in as the benchmark's user, whose key is in a file of the seeded folder.
fn sign_in(mut server: Server, folder: &Path) -> anyhow::Result<Server> {
    let key = user_key(folder)?;
    server.headers = format!("Authorization: Basic {}\r\n", password(&server, &key)?);
    server.must(&server.request("GET", "/v2/", 200))?;
    Ok(server)
}

/// Another server over the index and blobs of the one under `first`, with the same sign-in.
pub(crate) fn start_replica(
    stores: &Stores,
    first: (&Server, &Path),
    folder: &Path,
) -> anyhow::Result<Server> {
    let (server, first_folder) = first;
    fs::create_dir_all(folder.join("data"))?;
    // Servers that share an index share the key that its secrets are sealed with.
    fs::copy(
        first_folder.join("data").join(MASTER_KEY),
        folder.join("data").join(MASTER_KEY),
    )?;
    let mut replica = start_on(stores, &folder.join("data"))?;
    replica.headers.clone_from(&server.headers);
    replica.must(&replica.request("GET", "/v2/", 200))?;
    Ok(replica)
}

/// The key of the root of a server that was seeded under `folder`.
pub(crate) fn root_key(folder: &Path) -> anyhow::Result<AccessKey> {
    exported_key(&fs::read_to_string(folder.join("root"))?)
}

/// The key of the benchmark's user of a server that was seeded under `folder`.
pub(crate) fn user_key(folder: &Path) -> anyhow::Result<AccessKey> {
    exported_key(&fs::read_to_string(folder.join("user"))?)
}

/// A server with nothing in it, for comparison: not signed in.
pub(crate) fn start_empty(folder: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(folder)?;
    let mut server = start_on(&Stores::Local, &folder.join("data"))?;
    let key = exported_key(&fs::read_to_string(folder.join("output"))?)?;
    server.headers = format!("Authorization: Basic {}\r\n", password(&server, &key)?);
    Ok(server)
}

/// A role that its account may assume, and the policy of a user who may assume every role.
const TRUST_POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
  "Principal":{"AWS":"123456789012"},"Action":["sts:AssumeRole","sts:TagSession"]}}"#;
const ASSUME_POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
  "Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}}"#;

/// A server with nothing but the role `bench`, and the key of a user who may assume it.
pub(crate) fn start_with_role(folder: &Path) -> anyhow::Result<(Server, AccessKey)> {
    let (server, root) = start_with_root(folder)?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "CreateRole")
        .append_pair("RoleName", "bench")
        .append_pair("AssumeRolePolicyDocument", TRUST_POLICY)
        .finish();
    server.must(&query_call(&root, "iam", form))?;
    let policy = folder.join("policy.json");
    fs::write(&policy, ASSUME_POLICY)?;
    let mut command = Command::new(binary());
    command
        .args(["user", "create", "bench", "--policy-file"])
        .arg(&policy)
        .arg("--data-dir")
        .arg(folder.join("data"));
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "`wharfinger user create` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let key = exported_key(&String::from_utf8_lossy(&output.stdout))?;
    Ok((server, key))
}

/// A server with nothing in it, and the key of its root.
pub(crate) fn start_with_root(folder: &Path) -> anyhow::Result<(Server, AccessKey)> {
    let server = start_empty(folder)?;
    let root = exported_key(&fs::read_to_string(folder.join("output"))?)?;
    Ok((server, root))
}

/// `user:password` in base64, from `GetAuthorizationToken`.
fn password(server: &Server, key: &AccessKey) -> anyhow::Result<String> {
    let response = server.must(&ecr_call(key, "GetAuthorizationToken", "{}".into()))?;
    let response: serde_json::Value = serde_json::from_slice(&response.body)?;
    let token = response["authorizationData"][0]["authorizationToken"]
        .as_str()
        .context("no token was given")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(token)?;
    ensure!(
        decoded.starts_with(b"AWS:"),
        "the token is not for the user AWS"
    );
    Ok(token.to_owned())
}

/// The key in lines of `export NAME=VALUE`.
fn exported_key(text: &str) -> anyhow::Result<AccessKey> {
    let exports: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='))
        .collect();
    let value = |name: &str| {
        let value = exports
            .get(name)
            .with_context(|| format!("{name} was not printed"))?;
        anyhow::Ok(value.trim_matches(['"', '\'']).to_owned())
    };
    Ok(AccessKey {
        id: value("AWS_ACCESS_KEY_ID")?,
        secret: value("AWS_SECRET_ACCESS_KEY")?,
        region: value("AWS_DEFAULT_REGION")?,
    })
}

/// A data folder with everything of `scale` in it, made once and kept for as long as schema and
/// seeding stay what they are.
fn seeded_folder(arguments: &Arguments, scale: Scale) -> anyhow::Result<PathBuf> {
    let folder = arguments
        .build
        .join(format!("seed-{}", &fingerprint(scale)?[7..19]));
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    // What an interrupted run left.
    let _ = fs::remove_dir_all(&folder);
    fill(&Stores::Local, scale, &folder)?;
    fs::write(folder.join("complete"), "")?;
    Ok(folder)
}

/// Makes a data folder under `folder`, and everything of the scale in its index.
fn fill(stores: &Stores, scale: Scale, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    crate::say(&format!(
        "seeding {} repositories, {} tags",
        scale.repositories, scale.big_tags
    ));
    let data = folder.join("data");
    prepare(stores, folder, &data)?;
    seed::fill(&stores.database(&data), scale)
}

/// Lets the server make its folder, a user and the repositories that rows push to; then stops it.
fn prepare(stores: &Stores, folder: &Path, data: &Path) -> anyhow::Result<()> {
    let server = start_on(stores, data)?;
    // The output of later starts replaces this one.
    fs::copy(folder.join("output"), folder.join("root"))?;
    let root = root_key(folder)?;
    let mut command = Command::new(binary());
    command
        .args([
            "user",
            "create",
            "bench",
            "--policy",
            USER_POLICY,
            "--data-dir",
        ])
        .arg(data)
        .args(stores.options());
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "`wharfinger user create` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(folder.join("user"), &output.stdout)?;
    for name in REPOSITORIES.into_iter().chain([BIG]) {
        let body = serde_json::json!({ "repositoryName": name });
        server.must(&ecr_call(&root, "CreateRepository", body.to_string()))?;
        let body = serde_json::json!({ "repositoryName": name, "policyText": REPOSITORY_POLICY });
        server.must(&ecr_call(&root, "SetRepositoryPolicy", body.to_string()))?;
    }
    Ok(())
}

/// What a seeded folder depends on.
fn fingerprint(scale: Scale) -> anyhow::Result<String> {
    let mut text = format!(
        "{scale:?}\n{}\n{}\n{}",
        include_str!("seed.rs"),
        include_str!("content.rs"),
        include_str!("wharfinger.rs")
    );
    let mut migrations = Vec::new();
    for domain in fs::read_dir(super::root().join("src"))? {
        let folder = domain?.path().join("migrations");
        if folder.is_dir() {
            for entry in fs::read_dir(folder)? {
                migrations.push(entry?.path());
            }
        }
    }
    migrations.sort();
    for migration in migrations {
        text.push_str(&fs::read_to_string(migration)?);
    }
    Ok(sha256(text.as_bytes()))
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            // Else the kernel writes it out while the first rows wait for their own syncs.
            fs::File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}
