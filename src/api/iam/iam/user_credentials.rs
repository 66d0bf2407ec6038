//! `ListMFADevices`, `ListVirtualMFADevices`, `ListSigningCertificates`, `ListSSHPublicKeys`,
//! `ListServiceSpecificCredentials`, `GetLoginProfile`, `DeleteLoginProfile`: users have none of
//! these here. Clients look for them before they delete a user.

use std::marker::PhantomData;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_iam::{EntityKind, KeyOwner};

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::users::user_or_caller;
use crate::iam::{IamService, Result, error};

/// A kind of credentials that nobody has.
pub(super) trait Credentials: Send + Sync + 'static {
    /// The operation that lists them.
    const LIST: &'static str;
    /// The member of its response.
    const ELEMENT: &'static str;
}

pub(super) struct MfaDevices;
pub(super) struct VirtualMfaDevices;
pub(super) struct SigningCertificates;
pub(super) struct SshPublicKeys;
pub(super) struct ServiceSpecific;

impl Credentials for MfaDevices {
    const LIST: &'static str = "ListMFADevices";
    const ELEMENT: &'static str = "MFADevices";
}

impl Credentials for VirtualMfaDevices {
    const LIST: &'static str = "ListVirtualMFADevices";
    const ELEMENT: &'static str = "VirtualMFADevices";
}

impl Credentials for SigningCertificates {
    const LIST: &'static str = "ListSigningCertificates";
    const ELEMENT: &'static str = "Certificates";
}

impl Credentials for SshPublicKeys {
    const LIST: &'static str = "ListSSHPublicKeys";
    const ELEMENT: &'static str = "SSHPublicKeys";
}

impl Credentials for ServiceSpecific {
    const LIST: &'static str = "ListServiceSpecificCredentials";
    const ELEMENT: &'static str = "ServiceSpecificCredentials";
}

/// The response of a listing that is always empty.
pub(super) struct EmptyOutput<C> {
    end: PageEnd,
    kind: PhantomData<fn() -> C>,
}

impl<C: Credentials> EmptyOutput<C> {
    /// # Errors
    /// A marker that was not made by this listing.
    fn of(paging: &Paging) -> Result<Self> {
        let (_, end) = paging.page(C::LIST, Vec::<String>::new(), |item| item)?;
        Ok(Self {
            end,
            kind: PhantomData,
        })
    }
}

impl<C: Credentials> Serialize for EmptyOutput<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry::<_, [(); 0]>(C::ELEMENT, &[])?;
        self.end.serialize_into(&mut map)?;
        map.end()
    }
}

/// Lists the credentials of a user, or of the caller.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct ListOfUser<C> {
    user_name: Option<String>,
    #[serde(flatten)]
    paging: Paging,
    #[serde(skip)]
    kind: PhantomData<fn() -> C>,
}

impl<C: Credentials> Operation for ListOfUser<C> {
    type Service = IamService;
    type Output = EmptyOutput<C>;

    const NAME: &'static str = C::LIST;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EmptyOutput<C>> {
        cx.resource().key_owner()?;
        EmptyOutput::of(&self.paging)
    }
}

#[derive(Deserialize)]
pub(super) struct ListVirtualMFADevices {
    #[serde(flatten)]
    paging: Paging,
}

impl Operation for ListVirtualMFADevices {
    type Service = IamService;
    type Output = EmptyOutput<VirtualMfaDevices>;

    const NAME: &'static str = VirtualMfaDevices::LIST;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, _: &Context<IamService>) -> Result<EmptyOutput<VirtualMfaDevices>> {
        EmptyOutput::of(&self.paging)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListServiceSpecificCredentials {
    user_name: Option<String>,
    #[serde(default)]
    all_users: bool,
    #[serde(flatten)]
    paging: Paging,
}

impl Operation for ListServiceSpecificCredentials {
    type Service = IamService;
    type Output = EmptyOutput<ServiceSpecific>;

    const NAME: &'static str = ServiceSpecific::LIST;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        if !self.all_users {
            return Ok(user_or_caller(scope, self.user_name.as_deref()));
        }
        if self.user_name.is_some() {
            return Err(error::validation(
                "AllUsers cannot be specified together with UserName.",
            ));
        }
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::User.as_str(),
            path: "/".to_owned(),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EmptyOutput<ServiceSpecific>> {
        if !self.all_users {
            cx.resource().key_owner()?;
        }
        EmptyOutput::of(&self.paging)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetLoginProfile {
    user_name: Option<String>,
}

/// What no request gets.
#[derive(Serialize)]
pub(super) struct GetLoginProfileOutput {}

impl Operation for GetLoginProfile {
    type Service = IamService;
    type Output = GetLoginProfileOutput;

    const NAME: &'static str = "GetLoginProfile";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetLoginProfileOutput> {
        Err(no_login_profile(cx))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteLoginProfile {
    user_name: Option<String>,
}

impl Operation for DeleteLoginProfile {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteLoginProfile";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        Err(no_login_profile(cx))
    }
}

/// The error of a request about the password of a user. The root has to name the user (IAM API
/// reference, `GetLoginProfile`).
fn no_login_profile(cx: &Context<IamService>) -> error::Error {
    match cx.resource().key_owner() {
        Ok(KeyOwner::User(user)) => error::no_such_login_profile(&user.name),
        Ok(KeyOwner::Root) => error::no_user_name(),
        Err(no_such_user) => no_such_user,
    }
}
