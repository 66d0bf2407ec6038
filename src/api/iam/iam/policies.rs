//! The operations on the policies of users and of groups: `Put…Policy`, `Get…Policy`,
//! `List…Policies`, `Delete…Policy`, `Attach…Policy`, `Detach…Policy`, `ListAttached…Policies`.
//!
//! Each pair differs in the member that names the identity and in nothing else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::PolicyOwner;

use crate::iam::groups::group_id;
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{IamResource, IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::users::user_id;
use crate::iam::{IamService, Result, error};

/// What RFC 3986 leaves as it is, which is how the IAM API encodes documents.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The condition key with the ARN of a policy that is attached or detached.
const POLICY_ARN: &str = "iam:PolicyARN";

pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// Checks the form of a policy's ARN.
fn checked_arn(arn: String) -> Result<String> {
    let valid = arn.starts_with("arn:") && arn.contains(":policy/");
    if valid {
        Ok(arn)
    } else {
        Err(error::invalid_input(format!("ARN {arn} is not valid.")))
    }
}

/// The request of an operation on the policies of a user.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserRef {
    user_name: String,
}

impl UserRef {
    fn id(&self, scope: &RequestScope) -> IamResourceId {
        user_id(scope, &self.user_name)
    }
}

/// The request of an operation on the policies of a group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupRef {
    group_name: String,
}

impl GroupRef {
    fn id(&self, scope: &RequestScope) -> IamResourceId {
        group_id(scope, &self.group_name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InlineDocument {
    policy_name: String,
    policy_document: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InlineName {
    policy_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManagedArn {
    policy_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedRequest {
    path_prefix: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

/// An inline policy in a response; the identity has its name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InlinePolicyOutput {
    user_name: Option<String>,
    group_name: Option<String>,
    policy_name: String,
    policy_document: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyNamesOutput {
    policy_names: Vec<String>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttachedPoliciesOutput {
    attached_policies: Vec<AttachedPolicy>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedPolicy {
    policy_name: String,
    policy_arn: String,
}

impl AttachedPolicy {
    /// The policy's name is the last part of its ARN, the path what precedes it.
    fn of(policy_arn: String) -> Self {
        let name = policy_arn.rsplit('/').next().unwrap_or_default();
        Self {
            policy_name: name.to_owned(),
            policy_arn,
        }
    }

    fn is_under(&self, path_prefix: &str) -> bool {
        let path = self.policy_arn.split_once(":policy");
        path.is_some_and(|(_, path)| path.starts_with(path_prefix))
    }
}

fn attached(
    operation: &str,
    request: &AttachedRequest,
    arns: Vec<String>,
) -> Result<AttachedPoliciesOutput> {
    let prefix = request.path_prefix.as_deref().unwrap_or("/");
    let policies = arns.into_iter().map(AttachedPolicy::of);
    let policies = policies.filter(|policy| policy.is_under(prefix));
    let (attached_policies, end) = request
        .paging
        .page(operation, policies, |policy| &policy.policy_arn)?;
    Ok(AttachedPoliciesOutput {
        attached_policies,
        end,
    })
}

/// The demand of an operation that changes the policies of an identity, which may depend on the
/// identity's permissions boundary.
fn change<O>(operation: &O, scope: &RequestScope) -> Result<Demand<IamService>>
where
    O: Operation<Service = IamService>,
{
    let demand = Demand::new(O::ACTION, operation.resource(scope)?);
    Ok(demand.with_key_of_resource(PERMISSIONS_BOUNDARY, IamResource::boundary))
}

fn user_owner(cx: &Context<IamService>) -> Result<PolicyOwner> {
    Ok(PolicyOwner::User(cx.resource().user()?.name.clone()))
}

fn group_owner(cx: &Context<IamService>) -> Result<PolicyOwner> {
    Ok(PolicyOwner::Group(cx.resource().group()?.name.clone()))
}

/// Defines the seven operations for one kind of identity.
macro_rules! policy_operations {
    ($reference:ty, $owner:expr, $user_name:expr, $group_name:expr,
     $put:ident, $get:ident, $list:ident, $delete:ident,
     $attach:ident, $detach:ident, $list_attached:ident $(,)?) => {
        #[derive(Debug, Deserialize)]
        pub(super) struct $put {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            policy: InlineDocument,
        }

        impl Operation for $put {
            type Service = IamService;
            type Output = ();

            const NAME: &'static str = stringify!($put);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
                Ok(vec![change(self, scope)?])
            }

            async fn run(self, cx: &Context<IamService>) -> Result<()> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let InlineDocument {
                    policy_name: name,
                    policy_document: document,
                } = self.policy;
                let owner = $owner(cx)?;
                users
                    .put_inline_policy(account, owner, name, document)
                    .await?;
                Ok(())
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $get {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            policy: InlineName,
        }

        impl Operation for $get {
            type Service = IamService;
            type Output = InlinePolicyOutput;

            const NAME: &'static str = stringify!($get);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            async fn run(self, cx: &Context<IamService>) -> Result<InlinePolicyOutput> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let (owner, name) = ($owner(cx)?, self.policy.policy_name);
                let (user_name, group_name) = ($user_name(&owner), $group_name(&owner));
                let document = users.inline_policy(account, owner, name.clone()).await?;
                Ok(InlinePolicyOutput {
                    user_name,
                    group_name,
                    policy_name: name,
                    policy_document: encoded(&document),
                })
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $list {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            paging: Paging,
        }

        impl Operation for $list {
            type Service = IamService;
            type Output = PolicyNamesOutput;

            const NAME: &'static str = stringify!($list);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            async fn run(self, cx: &Context<IamService>) -> Result<PolicyNamesOutput> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let names = users.inline_policy_names(account, $owner(cx)?).await?;
                let (policy_names, end) = self.paging.page(Self::NAME, names, |name| name)?;
                Ok(PolicyNamesOutput { policy_names, end })
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $delete {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            policy: InlineName,
        }

        impl Operation for $delete {
            type Service = IamService;
            type Output = ();

            const NAME: &'static str = stringify!($delete);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
                Ok(vec![change(self, scope)?])
            }

            async fn run(self, cx: &Context<IamService>) -> Result<()> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let (owner, name) = ($owner(cx)?, self.policy.policy_name);
                Ok(users.delete_inline_policy(account, owner, name).await?)
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $attach {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            policy: ManagedArn,
        }

        impl Operation for $attach {
            type Service = IamService;
            type Output = ();

            const NAME: &'static str = stringify!($attach);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
                let demand = change(self, scope)?;
                Ok(vec![demand.with_key(POLICY_ARN, &self.policy.policy_arn)])
            }

            async fn run(self, cx: &Context<IamService>) -> Result<()> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let (owner, arn) = ($owner(cx)?, checked_arn(self.policy.policy_arn)?);
                Ok(users.attach_policy(account, owner, arn).await?)
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $detach {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            policy: ManagedArn,
        }

        impl Operation for $detach {
            type Service = IamService;
            type Output = ();

            const NAME: &'static str = stringify!($detach);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
                let demand = change(self, scope)?;
                Ok(vec![demand.with_key(POLICY_ARN, &self.policy.policy_arn)])
            }

            async fn run(self, cx: &Context<IamService>) -> Result<()> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let (owner, arn) = ($owner(cx)?, checked_arn(self.policy.policy_arn)?);
                Ok(users.detach_policy(account, owner, arn).await?)
            }
        }

        #[derive(Debug, Deserialize)]
        pub(super) struct $list_attached {
            #[serde(flatten)]
            identity: $reference,
            #[serde(flatten)]
            request: AttachedRequest,
        }

        impl Operation for $list_attached {
            type Service = IamService;
            type Output = AttachedPoliciesOutput;

            const NAME: &'static str = stringify!($list_attached);

            fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
                Ok(self.identity.id(scope))
            }

            async fn run(self, cx: &Context<IamService>) -> Result<AttachedPoliciesOutput> {
                let (users, account) = (cx.state().iam.users(), cx.scope().account);
                let arns = users.attached_policies(account, $owner(cx)?).await?;
                attached(Self::NAME, &self.request, arns)
            }
        }
    };
}

policy_operations!(
    UserRef,
    user_owner,
    |owner: &PolicyOwner| Some(owner.name().to_owned()),
    |_: &PolicyOwner| None,
    PutUserPolicy,
    GetUserPolicy,
    ListUserPolicies,
    DeleteUserPolicy,
    AttachUserPolicy,
    DetachUserPolicy,
    ListAttachedUserPolicies,
);

policy_operations!(
    GroupRef,
    group_owner,
    |_: &PolicyOwner| None,
    |owner: &PolicyOwner| Some(owner.name().to_owned()),
    PutGroupPolicy,
    GetGroupPolicy,
    ListGroupPolicies,
    DeleteGroupPolicy,
    AttachGroupPolicy,
    DetachGroupPolicy,
    ListAttachedGroupPolicies,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_encoded_as_in_a_url() {
        assert_eq!(
            encoded(r#"{"a": "b-c_d.~"}"#),
            "%7B%22a%22%3A%20%22b-c_d.~%22%7D"
        );
    }

    #[test]
    fn a_policy_has_its_name_and_path_from_its_arn() {
        let policy = AttachedPolicy::of("arn:aws:iam::aws:policy/service-role/ECS".to_owned());
        assert_eq!(policy.policy_name, "ECS");
        let under = ["/", "/service-role/", "/job/"].map(|prefix| policy.is_under(prefix));
        assert_eq!(under, [true, true, false]);
        assert!(checked_arn(policy.policy_arn).is_ok());
        assert!(checked_arn("AdministratorAccess-is-no-arn".to_owned()).is_err());
    }
}
