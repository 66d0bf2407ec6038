//! What can be wrong with a policy document, a credential or the store of both; HTTP-free.

use wharfinger_aws::sigv4::SignatureError;
use wharfinger_db as db;

use crate::entity::EntityKind;

/// Why a text is no policy of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is longer than {limit} characters")]
    TooLong { limit: usize },
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    #[error("{element} is missing")]
    Missing { element: &'static str },
    /// An element unknown to the policy language, or one that this kind of policy does not take.
    #[error("{element} is not allowed here")]
    NotAllowed { element: String },
    #[error("{element} has a value that it cannot have: {value}")]
    Value {
        element: &'static str,
        value: String,
    },
    #[error("Principal not found: {0}")]
    PrincipalNotFound(String),
    #[error("the Sid {0} is used twice")]
    DuplicateSid(String),
    /// The words are IAM's own.
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    NotAssumeRole,
}

impl PolicyError {
    /// A [`PolicyError::Value`] that shows at most 64 characters of what was found.
    pub(super) fn value(element: &'static str, found: &str) -> Self {
        let mut value: String = found.chars().take(64).collect();
        if value.len() < found.len() {
            value.push('…');
        }
        Self::Value { element, value }
    }
}

/// Why a caller was not let in, or a change to users and keys was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the request has no credentials")]
    MissingCredentials,
    #[error("no access key has this id")]
    UnknownKey,
    /// The key is switched off, or its user is.
    #[error("the access key is disabled")]
    DisabledKey,
    /// The words are AWS's own.
    #[error("The security token included in the request is expired")]
    SessionExpired,
    /// The words are STS's own.
    #[error("Cannot call {0} with session credentials")]
    SessionOfSession(&'static str),
    /// The words of the following are STS's own where AWS documents them.
    #[error("There is no role {0}")]
    NoSuchRole(String),
    #[error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")]
    SessionTooLong,
    #[error(
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role \
         chaining"
    )]
    ChainedSessionTooLong,
    #[error("A session can have up to 10 managed session policies.")]
    TooManySessionPolicies,
    #[error("{0}")]
    SessionTags(&'static str),
    #[error("{0}")]
    SourceIdentity(&'static str),
    #[error(
        "Packed policy consumes {percent}% of allotted space, please use smaller policy or fewer \
         session tags."
    )]
    PackedPolicyTooLarge { percent: usize },

    #[error("Invalid Open ID Connect Provider URL: {0}")]
    InvalidProviderUrl(String),
    #[error("Invalid thumbprint: {0}")]
    InvalidThumbprint(String),
    #[error("Provider with url {0} already exists.")]
    ProviderExists(String),
    #[error("OpenIDConnect Provider not found for arn {0}")]
    NoSuchProvider(String),
    /// The file of configured key sets cannot be used.
    #[error("{0}")]
    KeySetFile(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A user name other than `AWS`, or a password or Bearer token that this server never signed.
    #[error("the user name, password or token is not valid")]
    BadCredentials,
    /// The words are ECR's own.
    #[error("Your authorization token has expired. Reauthenticate and try again.")]
    PasswordExpired,
    #[error("the bearer token has expired")]
    TokenExpired,
    #[error("the download URL is not valid or has expired")]
    InvalidTicket,

    #[error("the {} with name {name} cannot be found in this account", kind.as_str())]
    NoSuchEntity { kind: EntityKind, name: String },
    #[error("the {} with name {name} exists already in this account", kind.as_str())]
    EntityExists { kind: EntityKind, name: String },
    #[error("the user {user} does not belong to the group {group}")]
    NotMember { user: String, group: String },
    #[error("The role {role} is not in the instance profile {profile}.")]
    NotInProfile { role: String, profile: String },
    /// The words are IAM's own.
    #[error(
        "Cannot perform the operation on the protected role '{0}' - this role is only modifiable \
         by AWS"
    )]
    ServiceLinkedRole(String),
    /// The words are IAM's own.
    #[error("Cannot find Service Linked Role template for {0}")]
    NoServiceRole(String),
    /// The words are IAM's own.
    #[error("Custom suffix is not allowed for {0}")]
    ServiceRoleSuffix(String),
    /// The words are IAM's own.
    #[error("Service role name {0} has been taken in this account, please try a different suffix.")]
    ServiceRoleTaken(String),
    #[error("The path /aws-service-role/ is reserved for service-linked roles.")]
    ReservedPath,
    /// The words are IAM's own.
    #[error("Cannot attach a Service Role Policy to a Customer Role.")]
    ServicePolicy,
    #[error("a user name has 1 to 64 letters, digits and +=,.@_-, unlike {0:?}")]
    InvalidName(String),
    #[error("the access key with id {0} cannot be found in this account")]
    NoSuchKey(String),
    #[error("there is no managed policy {0}")]
    NoSuchPolicy(String),
    #[error("A policy called {0} already exists. Duplicate names are not allowed.")]
    PolicyExists(String),
    #[error("Policy {arn} version {version} does not exist or is not attachable.")]
    NoSuchPolicyVersion { arn: String, version: String },
    /// The words are IAM's own.
    #[error("No report is present for this account.")]
    NoReport,
    #[error("The credential report has expired. Generate a new one.")]
    ReportExpired,
    #[error("The account alias {0} already exists.")]
    AliasExists(String),
    #[error("The account alias {0} cannot be found.")]
    NoSuchAlias(String),
    /// What stands against the deletion of a managed policy or of a version of it.
    #[error("{0}")]
    PolicyInUse(&'static str),
    #[error(
        "A managed policy can have up to 5 versions. Before you create a new version, you must \
         delete an existing version."
    )]
    TooManyPolicyVersions,
    #[error("The policy {0} belongs to AWS and cannot be changed.")]
    AwsManagedPolicy(String),
    #[error("the user has no policy {0}")]
    NotAttached(String),
    #[error("the policy {0} does not exist or cannot be attached")]
    NotAttachable(String),
    /// The name that IAM gives to the quota, and its value.
    #[error("Cannot exceed quota for {quota}: {limit}")]
    Quota { quota: &'static str, limit: usize },
    /// The inline policies of an identity are longer than this together.
    #[error("Maximum policy size of {limit} bytes exceeded for {kind} {name}")]
    InlineSize {
        kind: &'static str,
        name: String,
        limit: usize,
    },
    #[error("The {kind} policy with name {name} cannot be found.")]
    NoSuchInlinePolicy { kind: &'static str, name: String },
    /// What has to be done before the identity can be deleted.
    #[error("Cannot delete entity, must {0} first.")]
    DeleteConflict(&'static str),
    #[error("the user has {limit} {what} already, which is the most")]
    LimitExceeded { what: &'static str, limit: usize },
    #[error(transparent)]
    Policy(#[from] PolicyError),

    #[error(
        "the master key file is not the one that sealed the secrets in this index (it knows \
         {known}, the file is {found}): put the right file back"
    )]
    WrongMasterKey { known: String, found: String },
    /// A development server accepts any credentials and can be emptied by anybody.
    #[error(
        "this index was made by a server without --dev, so it is not served with --dev: use \
         another data folder or database"
    )]
    NotDevIndex,
    /// A row that cannot be read never authenticates or authorizes a request.
    #[error("a stored credential or policy cannot be read: {0}")]
    Corrupt(String),
    /// Not an authorization message, or one of another account or deployment.
    #[error("Invalid authorization message.")]
    AuthorizationMessage,
    #[error("a token could not be signed")]
    Signing,
    #[error("the requested scopes do not fit into one token: request fewer")]
    TokenTooLong,
    #[error(transparent)]
    Index(#[from] db::Error),
}

impl Error {
    /// Whether the same request may succeed soon: the index is out of reach or overloaded.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Index(db::Error::Unavailable(_) | db::Error::Conflict)
        )
    }

    /// Is it the server's trouble rather than the caller's?
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::WrongMasterKey { .. } | Self::Corrupt(_) | Self::Signing | Self::Index(_)
        )
    }
}
