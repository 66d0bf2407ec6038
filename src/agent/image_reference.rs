//! Where an image is pulled from, and with which token. PURE.

/// How an image is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullSource {
    /// What the engine pulls.
    pub(crate) reference: String,
    /// The registry of ECR that signs the engine in, if one does.
    pub(crate) ecr: Option<EcrRegistry>,
}

/// A registry of an account in a region; what is not known is the server's default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct EcrRegistry {
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
}

/// Decides how an image is pulled. `own_host` is the `host:port` of this product's server; `is_own`
/// says what the control plane knows of the image's registry: whether it is this server's.
///
/// An image of Amazon's registry is pulled from the own one where the control plane does not say
/// otherwise: that is what the name means to its tasks. A loopback host means the server's.
pub(crate) fn pull_source(image: &str, own_host: &str, is_own: Option<bool>) -> PullSource {
    let unchanged = |ecr| PullSource {
        reference: image.to_owned(),
        ecr,
    };
    let Some((host, rest)) = registry_host(image) else {
        return unchanged(None);
    };
    let from_own = |ecr| PullSource {
        reference: format!("{own_host}/{rest}"),
        ecr: Some(ecr),
    };
    if let Some((registry, domain)) = ecr_host(host) {
        let amazons = domain == "amazonaws.com" || domain == "amazonaws.com.cn";
        let own_is_amazons = own_host.ends_with(".amazonaws.com");
        if amazons && !own_is_amazons && is_own != Some(false) {
            return from_own(registry);
        }
        let is_known = amazons || is_own == Some(true) || is_same(domain, own_host);
        return unchanged(is_known.then_some(registry));
    }
    if is_same(host, own_host) {
        return unchanged(Some(EcrRegistry::default()));
    }
    if is_own == Some(true) && is_loopback(host) {
        return from_own(EcrRegistry::default());
    }
    unchanged((is_own == Some(true)).then(EcrRegistry::default))
}

/// The registry that a reference names, and the rest. `library/busybox` and `busybox` name none.
fn registry_host(image: &str) -> Option<(&str, &str)> {
    let (host, rest) = image.split_once('/')?;
    let is_host = host.contains(['.', ':']) || host == "localhost";
    is_host.then_some((host, rest))
}

/// Account and region of `<account>.dkr.ecr.<region>.<domain>`, and the domain.
fn ecr_host(host: &str) -> Option<(EcrRegistry, &str)> {
    let (account, rest) = host.split_once(".dkr.ecr.")?;
    let (region, domain) = rest.split_once('.')?;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| {
        let registry = EcrRegistry {
            account: Some(account.to_owned()),
            region: Some(region.to_owned()),
        };
        (registry, domain)
    })
}

/// Whether both name one server. Three names of loopback are one; its other addresses are where
/// containers publish their ports.
fn is_same(host: &str, own_host: &str) -> bool {
    let normal = |host: &str| {
        let (name, port) = split_port(host);
        let is_usual = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        let name = if is_usual { "localhost" } else { name };
        (name.to_ascii_lowercase(), port.to_owned())
    };
    normal(host) == normal(own_host)
}

fn is_loopback(host: &str) -> bool {
    let (name, _) = split_port(host);
    matches!(name, "localhost" | "[::1]") || name.starts_with("127.")
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "127.0.0.1:4566";

    #[test]
    fn images_of_other_registries_are_pulled_as_they_are_named() {
        for image in [
            "busybox",
            "library/busybox:1",
            "quay.io/a/b",
            "localhost:5000/web",
        ] {
            let source = pull_source(image, OWN, None);
            assert_eq!((source.reference.as_str(), source.ecr), (image, None));
        }
    }

    #[test]
    fn the_own_registry_signs_in_by_every_name_of_loopback() {
        for host in ["localhost:4566", "127.0.0.1:4566", "[::1]:4566"] {
            let source = pull_source(&format!("{host}/team/web:1"), OWN, None);
            assert_eq!(source.reference, format!("{host}/team/web:1"));
            assert_eq!(source.ecr, Some(EcrRegistry::default()), "{host}");
        }
        let source = pull_source("Registry.example/web", "registry.example", None);
        assert!(source.ecr.is_some());
    }

    #[test]
    fn no_token_goes_to_a_registry_that_nobody_vouches_for() {
        for host in [
            "123456789012.dkr.ecr.us-east-1.evil.example",
            "123456789012.dkr.ecr.us-east-1.evil.example:4566",
            "123456789012.dkr.ecr.us-east-1.localhost:9999",
            "127.0.1.1:4566",
            "localhost:9999",
        ] {
            for is_own in [None, Some(false)] {
                let source = pull_source(&format!("{host}/web"), OWN, is_own);
                assert_eq!(source.ecr, None, "{host}");
            }
        }
        let own = "123456789012.dkr.ecr.us-east-1.localhost:4566/web";
        assert!(pull_source(own, OWN, None).ecr.is_some());
    }

    #[test]
    fn amazons_names_are_pulled_from_the_own_registry() {
        let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web@sha256:ab";
        let source = pull_source(image, OWN, None);
        assert_eq!(source.reference, "127.0.0.1:4566/web@sha256:ab");
        let registry = source.ecr.expect("a registry");
        assert_eq!(registry.account.as_deref(), Some("123456789012"));
        assert_eq!(registry.region.as_deref(), Some("eu-west-1"));
        let own_domain = "123456789012.dkr.ecr.eu-west-1.registry.example/web";
        let source = pull_source(own_domain, "registry.example", None);
        assert_eq!(source.reference, own_domain);
        assert!(source.ecr.is_some());
        assert_eq!(
            pull_source("1.dkr.ecr.x.amazonaws.com/web", OWN, None).ecr,
            None
        );
    }

    #[test]
    fn the_control_plane_knows_whose_registry_it_is() {
        let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web";
        assert_eq!(pull_source(image, OWN, Some(false)).reference, image);
        let remote = "registry.example";
        let source = pull_source("localhost:4566/web", remote, Some(true));
        assert_eq!(source.reference, "registry.example/web");
        assert!(source.ecr.is_some());
        let source = pull_source("localhost:4566/web", remote, None);
        assert_eq!(
            (source.reference.as_str(), source.ecr),
            ("localhost:4566/web", None)
        );
        let source = pull_source("mirror.example/web", remote, Some(true));
        assert!(source.ecr.is_some());
    }
}
