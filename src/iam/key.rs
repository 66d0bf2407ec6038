//! The keys of conditions and variables, and the trait that gives their values. PURE.

use std::borrow::Cow;

use crate::pattern::Variables;

/// The values of a request that conditions compare.
pub(super) trait ContextValues: Variables {
    /// The values for a key; none where the request lacks it.
    fn values(&self, key: &Key) -> Vec<Cow<'_, str>>;
}

/// A condition key. Names are compared without regard to case, tag keys within them too, as AWS
/// does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    CurrentTime,
    EpochTime,
    SourceIp,
    SecureTransport,
    UserAgent,
    RequestedRegion,
    PrincipalArn,
    PrincipalAccount,
    PrincipalType,
    Username,
    UserId,
    TokenIssueTime,
    MultiFactorAuthPresent,
    ResourceAccount,
    PrincipalIsService,
    PrincipalServiceName,
    /// `aws:ViaAWSService`: always there, never true here.
    ViaService,
    TagKeys,
    ResourceTag(String),
    RequestTag(String),
    PrincipalTag(String),
    Other(String),
}

/// How keys for tags of the resource begin: some services have a name of their own for them.
const RESOURCE_TAGS: &[&str] = &[
    "aws:resourcetag/",
    "ecr:resourcetag/",
    "ecs:resourcetag/",
    "iam:resourcetag/",
];

impl Key {
    pub(super) fn of(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let tag = |prefixes: &[&str]| {
            prefixes
                .iter()
                .find_map(|prefix| lower.strip_prefix(prefix))
                .map(ToOwned::to_owned)
        };
        if let Some(tag) = tag(RESOURCE_TAGS) {
            return Self::ResourceTag(tag);
        }
        if let Some(tag) = tag(&["aws:requesttag/"]) {
            return Self::RequestTag(tag);
        }
        if let Some(tag) = tag(&["aws:principaltag/"]) {
            return Self::PrincipalTag(tag);
        }
        match lower.as_str() {
            "aws:currenttime" => Self::CurrentTime,
            "aws:epochtime" => Self::EpochTime,
            "aws:sourceip" => Self::SourceIp,
            "aws:securetransport" => Self::SecureTransport,
            "aws:useragent" => Self::UserAgent,
            "aws:requestedregion" => Self::RequestedRegion,
            "aws:principalarn" => Self::PrincipalArn,
            "aws:principalaccount" => Self::PrincipalAccount,
            "aws:principaltype" => Self::PrincipalType,
            "aws:username" => Self::Username,
            "aws:userid" => Self::UserId,
            "aws:tokenissuetime" => Self::TokenIssueTime,
            "aws:multifactorauthpresent" => Self::MultiFactorAuthPresent,
            "aws:resourceaccount" => Self::ResourceAccount,
            "aws:principalisawsservice" => Self::PrincipalIsService,
            "aws:principalservicename" => Self::PrincipalServiceName,
            "aws:viaawsservice" => Self::ViaService,
            "aws:tagkeys" => Self::TagKeys,
            _ => Self::Other(lower),
        }
    }

    /// Whether the value comes from the time or the connection of a request.
    pub(super) const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::CurrentTime
                | Self::EpochTime
                | Self::SourceIp
                | Self::SecureTransport
                | Self::UserAgent
                | Self::RequestedRegion
        )
    }

    /// Whether the value tells who the caller is.
    pub(super) const fn is_of_caller(&self) -> bool {
        matches!(
            self,
            Self::PrincipalArn
                | Self::PrincipalAccount
                | Self::PrincipalType
                | Self::PrincipalTag(_)
                | Self::Username
                | Self::UserId
                | Self::TokenIssueTime
                | Self::MultiFactorAuthPresent
        )
    }

    /// Whether the values are those of tags, of which several may differ from the key only in case.
    pub(super) const fn is_tag(&self) -> bool {
        matches!(
            self,
            Self::ResourceTag(_) | Self::RequestTag(_) | Self::PrincipalTag(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_and_tags_have_no_case() {
        assert_eq!(Key::of("AWS:UserName"), Key::Username);
        assert_eq!(
            Key::of("ecr:ResourceTag/Team"),
            Key::of("aws:resourcetag/TEAM")
        );
        let tag_keys = ["Request", "Resource", "Principal"]
            .map(|owner| Key::of(&format!("aws:{owner}Tag/Team")));
        assert!(tag_keys.iter().all(Key::is_tag));
        assert!(tag_keys[0] != tag_keys[1] && tag_keys[1] != tag_keys[2]);
        assert_eq!(
            Key::of("aws:PrincipalOrgID"),
            Key::Other("aws:principalorgid".to_owned())
        );
    }
}
