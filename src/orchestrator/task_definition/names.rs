//! The characters of names.

use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;

/// Longest family, container and volume name. Source: `RegisterTaskDefinition`.
const MAX_NAME: usize = 255;
/// Longest name of a role. Source: IAM API reference, `CreateRole`.
const MAX_ROLE_NAME: usize = 64;

/// Letters, digits, `-` and `_`.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

pub(super) fn is_role_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    (1..=MAX_ROLE_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

pub(super) fn check_family(family: &str) -> Checked {
    check(family, "Family")
}

/// Checks a required name; `what` is as messages of ECS name it.
pub(super) fn check(name: &str, what: &str) -> Checked {
    if name.is_empty() {
        return Err(refuse(format!("{what} should not be null or empty.")));
    }
    if name.len() > MAX_NAME {
        return Err(refuse(format!(
            "{what} cannot be longer than {MAX_NAME} characters."
        )));
    }
    if !is_plain(name) {
        return Err(refuse(format!("{what} contains invalid characters.")));
    }
    Ok(())
}

/// Checks the reference of an image: a bounded text of what registries, repositories, tags and
/// digests are made of.
pub(super) fn check_image(image: &str) -> Checked {
    if image.is_empty() {
        return Err(refuse("Container.image should not be null or empty."));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./#@[]".contains(&byte);
    if image.len() > MAX_NAME || !image.bytes().all(allowed) {
        return Err(refuse("Container.image contains invalid characters."));
    }
    Ok(())
}

/// A path within a container or on a host. ECS takes Linux paths only for Linux tasks.
pub(super) fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

/// Whether an image is in Amazon ECR by its name:
/// `123456789012.dkr.ecr.us-east-1.amazonaws.com/…`.
pub(crate) fn is_ecr_image(image: &str) -> bool {
    let host = image.split_once('/').map_or("", |(host, _)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let Some((account, rest)) = host.split_once(".dkr.ecr.") else {
        return false;
    };
    let amazon = rest.ends_with(".amazonaws.com") || rest.ends_with(".amazonaws.com.cn");
    account.parse::<wharfinger_aws::AccountId>().is_ok() && amazon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_ecr_are_known_by_their_host() {
        assert!(is_ecr_image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1"
        ));
        assert!(is_ecr_image(
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b@sha256:00"
        ));
        for other in [
            "nginx",
            "localhost:4566/web",
            "12.dkr.ecr.us-east-1.amazonaws.com/web",
            "",
        ] {
            assert!(!is_ecr_image(other), "{other}");
        }
    }
}
