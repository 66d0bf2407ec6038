//! The callers, policies and repositories of one line of the table, made by the API and removed
//! after it. Each caller gets a new key or a new role, which no server knows anything about yet.

use serde_json::json;

use crate::iam::decisions::managed_arn;
use crate::iam::written::{AWAY, HOME, ROLE_ID, statement};
use crate::support::{Aws, Setup, TestServer, on};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"AWS":"*"},"Action":["sts:AssumeRole","sts:SetSourceIdentity"]}}"#;
const ASSUME: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Resource":"*",
    "Action":["sts:AssumeRole","sts:SetSourceIdentity"]}}"#;

/// Who sends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Root,
    RootAway,
    User(&'static str),
    /// A user of the other account.
    UserAway(&'static str),
    Run,
    RunAway,
}

impl Caller {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "root" => Self::Root,
            "root@away" => Self::RootAway,
            "ann" => Self::User("ann"),
            "eve" => Self::User("eve"),
            "bob@away" => Self::UserAway("bob"),
            "run" => Self::Run,
            "run@away" => Self::RunAway,
            _ => return None,
        })
    }

    pub(super) const fn is_session(self) -> bool {
        matches!(self, Self::Run | Self::RunAway)
    }

    pub(super) const fn has_boundary(self) -> bool {
        !matches!(self, Self::Root | Self::RootAway)
    }
}

/// What a line says with `with`.
#[derive(Default)]
pub(super) struct Circumstances {
    pub(super) request_tags: Vec<(&'static str, &'static str)>,
    pub(super) removed_tags: Vec<&'static str>,
    pub(super) agent: Option<&'static str>,
    resource_tags: Vec<(&'static str, &'static str)>,
    principal_tags: Vec<(&'static str, &'static str)>,
    source_identity: Option<&'static str>,
    sts: Vec<(&'static str, &'static str)>,
}

impl Circumstances {
    /// Adds one; false for what a request cannot express.
    pub(super) fn read(&mut self, word: &'static str) -> bool {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name.split_once('/'), name.split_once(':')) {
            (Some(("resource", key)), _) => self.resource_tags.push((key, value)),
            (Some(("request", key)), _) => self.request_tags.push((key, value)),
            // A tag has no such value.
            (Some(("principal", key)), _) if value != "*" => {
                self.principal_tags.push((key, value));
            }
            (Some(("removed", key)), _) => self.removed_tags.push(key),
            (_, Some(("sts", key))) => self.sts.push((key, value)),
            _ => match (name, value) {
                ("agent", agent) => self.agent = Some(agent),
                ("aws:SourceIdentity", identity) => self.source_identity = Some(identity),
                ("region", "us-east-1") | ("secure", "false") => {}
                _ => return false,
            },
        }
        true
    }

    /// The value for this key of STS.
    pub(super) fn sts(&self, key: &str) -> Option<&'static str> {
        self.sts_values(key).first().copied()
    }

    pub(super) fn sts_values(&self, key: &str) -> Vec<&'static str> {
        let values = self.sts.iter().filter(|(known, _)| *known == key);
        values.map(|(_, value)| *value).collect()
    }
}

/// How an operation of IAM is undone.
struct Undo {
    aws: Aws,
    operation: String,
    members: Vec<(String, String)>,
}

/// Two accounts on one server.
pub(super) struct Scene {
    _server: TestServer,
    home: Aws,
    away: Aws,
    /// Users that may assume every role of their accounts.
    helpers: (Aws, Aws),
    /// Unique ids of the table, and those that the entities have here.
    ids: Vec<(String, String)>,
    undo: Vec<Undo>,
    repositories: Vec<String>,
    number: usize,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let server = TestServer::start(Setup {
            arguments: &["--account=111111111111"],
            ..Setup::default()
        })
        .await;
        let home = server.aws();
        let away = server.aws_root(AWAY);
        let mut ids = Vec::new();
        for (aws, name) in [(&home, "ann"), (&home, "eve"), (&away, "bob")] {
            let made = aws.iam_ok("CreateUser", &[("UserName", name)]).await;
            let table_id = format!("AIDACKCEVSQ6C2{}", name.to_uppercase());
            ids.push((table_id, made.text("UserId")));
        }
        // Policies name these only.
        home.iam_ok("CreateUser", &[("UserName", "bob")]).await;
        away.iam_ok("CreateUser", &[("UserName", "ann")]).await;
        let helpers = (
            server.aws_user(HOME, "helper", ASSUME),
            server.aws_user(AWAY, "helper", ASSUME),
        );
        Self {
            _server: server,
            home,
            away,
            helpers,
            ids,
            undo: Vec::new(),
            repositories: Vec::new(),
            number: 0,
        }
    }

    /// Makes all that the line names; returns the caller.
    pub(super) async fn set(
        &mut self,
        caller: Caller,
        resource: &str,
        fields: &[&'static str],
        with: &Circumstances,
    ) -> Aws {
        let line = fields.join("|");
        let names = |name: &str| line.split([' ', ',', '!', '|']).any(|word| word == name);
        let is_home = caller == Caller::Run
            || ["role", "run", "other-run", "id:role"]
                .into_iter()
                .any(names);
        if is_home {
            let role = self.create_role(&self.home.clone(), caller, with).await;
            self.ids.push((ROLE_ID.to_owned(), role));
        }
        if caller == Caller::RunAway || names("role@away") || names("run@away") {
            self.create_role(&self.away.clone(), caller, with).await;
        }
        let aws = self.caller(caller, fields, with).await;
        self.create_resource(resource, fields, with).await;
        aws
    }

    /// Removes all that was made for a line. A repository whose policy denies that to everyone
    /// stays; another server follows then.
    pub(super) async fn clear(&mut self) {
        while let Some(undo) = self.undo.pop() {
            let members: Vec<_> = undo
                .members
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            undo.aws.iam_ok(&undo.operation, &members).await;
        }
        for name in std::mem::take(&mut self.repositories) {
            // The line may have deleted it.
            let deleted = self.home.ecr("DeleteRepository", on(&name, json!({})));
            if deleted.await.code() == "AccessDeniedException" {
                *self = Self::new().await;
                return;
            }
        }
        self.ids.retain(|(table, _)| table != ROLE_ID);
    }

    async fn caller(
        &mut self,
        caller: Caller,
        fields: &[&'static str],
        with: &Circumstances,
    ) -> Aws {
        let (owner, kind, name) = match caller {
            Caller::Root => return self.home.clone(),
            Caller::RootAway => return self.away.clone(),
            Caller::User(name) => (self.home.clone(), "User", name),
            Caller::UserAway(name) => (self.away.clone(), "User", name),
            Caller::Run => (self.home.clone(), "Role", "deploy"),
            Caller::RunAway => (self.away.clone(), "Role", "deploy"),
        };
        self.attach(&owner, kind, name, fields).await;
        if kind == "User" {
            for (key, value) in &with.principal_tags {
                let tag = [("Tags.member.1.Key", *key), ("Tags.member.1.Value", *value)];
                let user = [("UserName", name)];
                owner.iam_ok("TagUser", &[&user[..], &tag].concat()).await;
                let key = [("UserName", name), ("TagKeys.member.1", *key)];
                self.undo_later(&owner, "UntagUser", &key);
            }
            let user = [("UserName", name)];
            let made = owner.iam_ok("CreateAccessKey", &user).await;
            let id = made.text("AccessKeyId");
            let mut aws = owner.clone();
            aws.access_key_id.clone_from(&id);
            aws.secret = made.text("SecretAccessKey");
            let key = [("UserName", name), ("AccessKeyId", &id)];
            self.undo_later(&owner, "DeleteAccessKey", &key);
            return aws;
        }
        self.session(caller, &owner, fields, with).await
    }

    /// Attaches the policies and the boundary of the caller.
    async fn attach(&mut self, owner: &Aws, kind: &str, name: &str, fields: &[&'static str]) {
        let named = format!("{kind}Name");
        for (at, field) in fields[2..].iter().enumerate() {
            let (what, text) = field.split_once(' ').unwrap_or((field, ""));
            let version = if what == "own2008" {
                "2008-10-17"
            } else {
                "2012-10-17"
            };
            match what {
                "own" | "own2008" => {
                    let (document, policy) = (self.document(version, text), format!("own-{at}"));
                    let members = [(named.as_str(), name), ("PolicyName", &policy)];
                    let put = [&members[..], &[("PolicyDocument", document.as_str())]].concat();
                    owner.iam_ok(&format!("Put{kind}Policy"), &put).await;
                    self.undo_later(owner, &format!("Delete{kind}Policy"), &members);
                }
                "managed" => {
                    let arn = managed_arn(text);
                    let members = [(named.as_str(), name), ("PolicyArn", &arn)];
                    owner.iam_ok(&format!("Attach{kind}Policy"), &members).await;
                    self.undo_later(owner, &format!("Detach{kind}Policy"), &members);
                }
                "boundary" => {
                    let arn = self.create_policy(owner, text).await;
                    let members = [(named.as_str(), name), ("PermissionsBoundary", &arn)];
                    let operation = format!("Put{kind}PermissionsBoundary");
                    owner.iam_ok(&operation, &members).await;
                    let operation = format!("Delete{kind}PermissionsBoundary");
                    self.undo_later(owner, &operation, &members[..1]);
                }
                _ => {}
            }
        }
    }

    /// A session of the role, with the session policies of the line: the first one inline.
    async fn session(
        &mut self,
        caller: Caller,
        owner: &Aws,
        fields: &[&'static str],
        with: &Circumstances,
    ) -> Aws {
        let (account, helper) = match caller {
            Caller::RunAway => (AWAY, self.helpers.1.clone()),
            _ => (HOME, self.helpers.0.clone()),
        };
        let role = format!("arn:aws:iam::{account}:role/ci/deploy");
        let mut members = vec![
            ("RoleArn".to_owned(), role),
            ("RoleSessionName".to_owned(), "run".to_owned()),
        ];
        let identity = with.source_identity.map(ToOwned::to_owned);
        members.extend(identity.map(|identity| ("SourceIdentity".to_owned(), identity)));
        let session = fields
            .iter()
            .filter_map(|field| field.strip_prefix("session "));
        for (at, text) in session.enumerate() {
            if at == 0 {
                let document = self.document("2012-10-17", text);
                members.push(("Policy".to_owned(), document));
            } else {
                let arn = self.create_policy(owner, text).await;
                members.push((format!("PolicyArns.member.{at}.arn"), arn));
            }
        }
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let assumed = helper.sts("AssumeRole", &members).await;
        helper.with_session(&assumed)
    }

    /// The role `/ci/deploy`, with the tags of its session; returns its unique id.
    async fn create_role(&mut self, owner: &Aws, caller: Caller, with: &Circumstances) -> String {
        let mut members = vec![
            ("RoleName".to_owned(), "deploy".to_owned()),
            ("Path".to_owned(), "/ci/".to_owned()),
            ("AssumeRolePolicyDocument".to_owned(), TRUST.to_owned()),
        ];
        let tags = with.principal_tags.iter().filter(|_| caller.is_session());
        for (at, (key, value)) in tags.enumerate() {
            let member = format!("Tags.member.{}", at + 1);
            members.push((format!("{member}.Key"), (*key).to_owned()));
            members.push((format!("{member}.Value"), (*value).to_owned()));
        }
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let made = owner.iam_ok("CreateRole", &members).await;
        self.undo_later(owner, "DeleteRole", &members[..1]);
        made.text("RoleId")
    }

    /// A customer managed policy; returns its ARN.
    async fn create_policy(&mut self, owner: &Aws, text: &str) -> String {
        self.number += 1;
        let name = format!("policy-{}", self.number);
        let document = self.document("2012-10-17", text);
        let members = [("PolicyName", name.as_str()), ("PolicyDocument", &document)];
        let made = owner.iam_ok("CreatePolicy", &members).await;
        let arn = made.text("Arn");
        self.undo_later(owner, "DeletePolicy", &[("PolicyArn", &arn)]);
        arn
    }

    /// The repository or the role that the request is about.
    async fn create_resource(&mut self, name: &str, fields: &[&'static str], with: &Circumstances) {
        let home = self.home.clone();
        let policy = |kind: &str| fields.iter().find_map(|field| field.strip_prefix(kind));
        if let Some(role) = name.strip_prefix("role:") {
            let Some(trust) = policy("trust ") else {
                return;
            };
            let trust = self.document("2012-10-17", trust);
            let members = [("RoleName", role), ("AssumeRolePolicyDocument", &trust)];
            home.iam_ok("CreateRole", &members).await;
            self.undo_later(&home, "DeleteRole", &members[..1]);
            return;
        }
        if name == "-" {
            return;
        }
        let tags = with.resource_tags.iter();
        let tags: Vec<_> = tags
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        let members = on(name, json!({"tags": tags}));
        home.ok("CreateRepository", members).await;
        self.repositories.push(name.to_owned());
        if let Some(text) = policy("resource ") {
            let text = self.document("2012-10-17", text);
            let members = on(name, json!({"policyText": text, "force": true}));
            home.ok("SetRepositoryPolicy", members).await;
        }
    }

    /// The document with the ids that the entities have here.
    fn document(&self, version: &str, text: &str) -> String {
        let statements: Vec<_> = text.split(';').map(statement).collect();
        let document = json!({"Version": version, "Statement": statements}).to_string();
        let ids = self.ids.iter();
        ids.fold(document, |document, (table, own)| {
            document.replace(table, own)
        })
    }

    fn undo_later(&mut self, aws: &Aws, operation: &str, members: &[(&str, &str)]) {
        let members = members.iter();
        self.undo.push(Undo {
            aws: aws.clone(),
            operation: operation.to_owned(),
            members: members
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        });
    }
}
