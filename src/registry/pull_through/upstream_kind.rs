//! The kinds of upstream registries and their hosts. PURE.
//!
//! Source: ECR API reference, `CreatePullThroughCacheRule`.

use wharfinger_aws::{AccountId, Region};

/// A kind of registry that rules may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    Ecr,
    EcrPublic,
    Quay,
    Kubernetes,
    DockerHub,
    GitHub,
    Azure,
    GitLab,
    Chainguard,
}

impl UpstreamKind {
    const ALL: [Self; 9] = [
        Self::Ecr,
        Self::EcrPublic,
        Self::Quay,
        Self::Kubernetes,
        Self::DockerHub,
        Self::GitHub,
        Self::Azure,
        Self::GitLab,
        Self::Chainguard,
    ];

    /// The name in `upstreamRegistry`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::EcrPublic => "ecr-public",
            Self::Quay => "quay",
            Self::Kubernetes => "k8s",
            Self::DockerHub => "docker-hub",
            Self::GitHub => "github-container-registry",
            Self::Azure => "azure-container-registry",
            Self::GitLab => "gitlab-container-registry",
            Self::Chainguard => "chainguard",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind that has this host.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.has_host(host))
    }

    /// Whether registries of the kind are reached at this host.
    #[must_use]
    pub fn has_host(self, host: &str) -> bool {
        match self {
            Self::Ecr => is_ecr(host),
            Self::Azure => host.strip_suffix(".azurecr.io").is_some_and(is_label),
            Self::EcrPublic => host == "public.ecr.aws",
            Self::Quay => host == "quay.io",
            Self::Kubernetes => host == "registry.k8s.io",
            Self::DockerHub => host == "registry-1.docker.io",
            Self::GitHub => host == "ghcr.io",
            Self::GitLab => host == "registry.gitlab.com",
            Self::Chainguard => host == "cgr.dev",
        }
    }

    /// Whether a rule must name a secret.
    #[must_use]
    pub const fn needs_secret(self) -> bool {
        matches!(
            self,
            Self::DockerHub | Self::GitHub | Self::Azure | Self::GitLab
        )
    }
}

/// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`.
fn is_ecr(host: &str) -> bool {
    let Some((account, rest)) = host.split_once(".dkr.ecr.") else {
        return false;
    };
    let Some((region, domain)) = rest.split_once('.') else {
        return false;
    };
    account.parse::<AccountId>().is_ok()
        && region.parse::<Region>().is_ok()
        && matches!(domain, "amazonaws.com" | "amazonaws.com.cn")
}

/// Whether a text is one label of a host name (the name of an Azure registry: 5 to 50 characters).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_their_kind() {
        for (host, kind) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some("ecr")),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                Some("ecr"),
            ),
            ("public.ecr.aws", Some("ecr-public")),
            ("quay.io", Some("quay")),
            ("registry.k8s.io", Some("k8s")),
            ("registry-1.docker.io", Some("docker-hub")),
            ("ghcr.io", Some("github-container-registry")),
            ("team1.azurecr.io", Some("azure-container-registry")),
            ("registry.gitlab.com", Some("gitlab-container-registry")),
            ("cgr.dev", Some("chainguard")),
            ("12345.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.eu-west-1.example.com", None),
            ("123456789012.dkr.ecr.amazonaws.com", None),
            ("a.b.azurecr.io", None),
            (".azurecr.io", None),
            ("azurecr.io", None),
            ("docker.io", None),
            ("https://quay.io", None),
            ("quay.io/", None),
            ("quay.io:443", None),
            ("QUAY.IO", None),
            ("localhost", None),
            ("169.254.169.254", None),
            ("", None),
        ] {
            let found = UpstreamKind::of_host(host).map(UpstreamKind::as_str);
            assert_eq!(found, kind, "{host}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for kind in UpstreamKind::ALL {
            assert_eq!(UpstreamKind::of_name(kind.as_str()), Some(kind));
        }
        assert_eq!(UpstreamKind::of_name("docker"), None);
    }
}
