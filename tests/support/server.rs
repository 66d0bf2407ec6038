//! A server of a test's own: the program on a free port with an empty data folder.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::aws::{AccessKey, Aws};
use super::client::Client;
use super::process::{Process, exported, run_ok};

/// The account that a server has unless it is configured.
pub(crate) const ACCOUNT: &str = "123456789012";

/// Every password comes from this operation, so each user of a test is allowed to call it.
const SIGN_IN: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]}"#;

/// How the server differs from one with the default configuration.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the configuration"
)]
pub(crate) struct Setup {
    /// Any credentials are accepted, and a push creates its repository.
    pub(crate) dev: bool,
    pub(crate) bearer: bool,
    pub(crate) create_on_push: bool,
    /// Manifests may name what is missing.
    pub(crate) sparse: bool,
    /// Archived blobs go to the folder `slow` of the server's folder.
    pub(crate) archive: bool,
    /// Requests per second of one caller, and as many at once.
    pub(crate) rate: Option<u32>,
    /// Further arguments of `wharfinger serve`.
    pub(crate) arguments: &'static [&'static str],
}

impl Setup {
    fn arguments(self) -> Vec<String> {
        let switches = [
            (self.dev, "--dev"),
            (self.bearer, "--auth-challenge=bearer"),
            (self.create_on_push, "--create-on-push"),
            (self.sparse, "--accept-missing-references"),
        ];
        let switches = switches.iter().filter(|(on, _)| *on);
        // The tests do not cut the power.
        let mut arguments = vec!["--durability=relaxed".to_owned()];
        arguments.extend(switches.map(|(_, argument)| (*argument).to_owned()));
        if let Some(rate) = self.rate {
            arguments.push(format!("--rate-per-second={rate}"));
            arguments.push(format!("--rate-burst={rate}"));
        }
        arguments.extend(self.arguments.iter().map(ToString::to_string));
        arguments
    }

    fn process(self, folder: &Path) -> Process {
        let archive = self.archive;
        let mut arguments = self.arguments();
        if archive {
            arguments.push(format!("--archive={}", folder.join("slow").display()));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Process::start(folder, &arguments)
    }
}

/// A running server; it ends when this value is dropped.
pub(crate) struct TestServer {
    process: Process,
    pub(crate) address: SocketAddr,
    root: AccessKey,
    root_password: String,
    folder: TempDir,
}

impl TestServer {
    pub(crate) async fn dev() -> Self {
        Self::start(Setup {
            dev: true,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = setup.process(folder.path());
        let root = AccessKey::from_exports(&process.printed_lines(4));
        let address = process.address.parse().expect("an address");
        let mut server = Self {
            process,
            address,
            root,
            root_password: String::new(),
            folder,
        };
        server.root_password = server.password(&server.root).await;
        server
    }

    /// A server on data that were restored to `folder`, with the root user of this one.
    pub(crate) fn restored_in(&self, folder: TempDir, setup: Setup) -> Self {
        let process = setup.process(folder.path());
        let address = process.address.parse().expect("an address");
        Self {
            process,
            address,
            root: self.root.clone(),
            root_password: self.root_password.clone(),
            folder,
        }
    }

    /// Stops the server; returns the folder that it kept its data in.
    pub(crate) fn stop(self) -> TempDir {
        self.process.stop();
        self.folder
    }

    /// A client without credentials.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client with the password of the account's root user.
    pub(crate) fn root(&self) -> Client {
        self.client().with_password(&self.root_password)
    }

    pub(crate) fn root_password(&self) -> String {
        self.root_password.clone()
    }

    /// A client whose password was the root's but for one character within its signature.
    pub(crate) fn root_with_changed_password(&self) -> Client {
        let mut password = self.root_password();
        let at = password.len() - 10;
        let other = if &password[at..=at] == "A" { "B" } else { "A" };
        password.replace_range(at..=at, other);
        self.client().with_password(&password)
    }

    /// A client with the password of a new user, under a managed policy by its name or a policy
    /// document.
    pub(crate) async fn user(&self, account: &str, name: &str, policy: &str) -> Client {
        let key = self.create_user(account, name, &[policy, SIGN_IN]);
        self.client().with_password(&self.password(&key).await)
    }

    /// The AWS APIs, signed by the root user's key.
    pub(crate) fn aws(&self) -> Aws {
        Aws::new(self, &self.root)
    }

    /// The AWS APIs, signed by the key of a new user, who is allowed what the policy allows.
    pub(crate) fn aws_user(&self, account: &str, name: &str, policy: &str) -> Aws {
        Aws::new(self, &self.create_user(account, name, &[policy]))
    }

    /// The AWS APIs, signed by a new key of the root of another account.
    pub(crate) fn aws_root(&self, account: &str) -> Aws {
        let account = format!("--account={account}");
        let printed = self.command(&["key", "create", &account]);
        Aws::new(self, &AccessKey::from_exports(&printed))
    }

    /// The AWS APIs, signed by this key.
    pub(crate) fn aws_with(&self, id: &str, secret: &str) -> Aws {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        Aws::new(self, &AccessKey { id, secret })
    }

    /// What the server has logged until now.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The folder that the server keeps its data in.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs a command of the program on the server's data folder; returns what it printed.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        run_ok(self.folder.path(), arguments)
    }

    fn create_user(&self, account: &str, name: &str, policies: &[&str]) -> AccessKey {
        let mut arguments = vec!["user".to_owned(), "create".to_owned(), name.to_owned()];
        arguments.push(format!("--account={account}"));
        for (n, policy) in policies.iter().enumerate() {
            if policy.starts_with('{') {
                let file = self.folder.path().join(format!("policy-{n}.json"));
                std::fs::write(&file, policy).expect("a policy file");
                arguments.push(format!("--policy-file={}", file.display()));
            } else {
                arguments.push(format!("--policy={policy}"));
            }
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        AccessKey::from_exports(&self.command(&arguments))
    }

    /// The password of a key: what `aws ecr get-login-password` prints.
    async fn password(&self, key: &AccessKey) -> String {
        let aws = Aws::new(self, key);
        let response = aws.ok("GetAuthorizationToken", json!({})).await;
        let token = &response["authorizationData"][0]["authorizationToken"];
        let pair = STANDARD.decode(token.as_str().expect("a token"));
        let pair = String::from_utf8(pair.expect("Base64")).expect("text");
        pair.strip_prefix("AWS:").expect("the user AWS").to_owned()
    }
}

impl AccessKey {
    fn from_exports(printed: &str) -> Self {
        Self {
            id: exported(printed, "AWS_ACCESS_KEY_ID"),
            secret: exported(printed, "AWS_SECRET_ACCESS_KEY"),
        }
    }
}
