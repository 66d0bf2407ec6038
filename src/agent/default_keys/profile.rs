//! The files of profiles. PURE.
//!
//! Source: AWS SDKs and Tools reference guide, "Shared config and credentials files".

use std::collections::BTreeMap;

use wharfinger_base::Secret;

use crate::keys::Keys;

/// Settings by which a profile gets keys from elsewhere, although it may have some of its own:
/// those are the ones to assume a role with.
const BEFORE_KEYS: [&str; 4] = [
    "role_arn",
    "web_identity_token_file",
    "sso_session",
    "sso_account_id",
];
/// Those by which it does so where it has none.
const AFTER_KEYS: [&str; 2] = ["credential_process", "credential_source"];

/// What a file has of a profile.
#[derive(Debug)]
pub(super) enum Found {
    Keys(Keys),
    /// A setting that says where the keys are, in whatever file others are.
    Elsewhere(&'static str),
    /// No keys, but a setting that says where they are.
    Other(&'static str),
    Nothing,
}

/// The keys of a profile of the shared credentials file.
pub(super) fn of_credentials(text: &str, profile: &str) -> Found {
    found(&settings(text, |section| section == profile))
}

/// The keys of a profile of the config file, which names it `profile NAME`.
pub(super) fn of_config(text: &str, profile: &str) -> Found {
    let is_wanted = |section: &str| {
        let named = section.strip_prefix("profile").map(str::trim);
        named == Some(profile) || (profile == "default" && section == profile)
    };
    found(&settings(text, is_wanted))
}

fn found(settings: &BTreeMap<&str, &str>) -> Found {
    let get = |name: &str| settings.get(name).filter(|value| !value.is_empty());
    let first = |names: &[&'static str]| names.iter().copied().find(|name| get(name).is_some());
    if let Some(name) = first(&BEFORE_KEYS) {
        return Found::Elsewhere(name);
    }
    if let (Some(id), Some(secret)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
        return Found::Keys(Keys {
            access_key_id: (*id).to_owned(),
            secret_access_key: Secret::new((*secret).to_owned()),
            session_token: get("aws_session_token").map(|token| (*token).to_owned()),
            expires_at: None,
        });
    }
    first(&AFTER_KEYS).map_or(Found::Nothing, Found::Other)
}

/// The settings of the sections that are wanted. Later ones replace earlier ones.
fn settings(text: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<&str, &str> {
    let mut settings = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        // Indented lines belong to the setting before, which is none of ours.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let name = section.split(']').next().unwrap_or_default();
            inside = is_wanted(name.trim());
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let comment = value.find(" #").or_else(|| value.find(" ;"));
        let value = comment.map_or(value, |end| &value[..end]);
        settings.insert(name.trim(), value.trim());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(found: Found) -> Keys {
        match found {
            Found::Keys(keys) => keys,
            other => panic!("no keys: {other:?}"),
        }
    }

    #[test]
    fn a_profile_has_its_own_keys() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = a=b\n\n\
                    [work]\naws_access_key_id=W\naws_secret_access_key=w\naws_session_token=t\n";
        let own = keys(of_credentials(text, "default"));
        assert_eq!(own.access_key_id, "A");
        assert_eq!(own.secret_access_key.reveal(), "a=b");
        assert_eq!(own.session_token, None);
        let work = keys(of_credentials(text, "work"));
        assert_eq!(work.session_token.as_deref(), Some("t"));
        assert!(matches!(of_credentials(text, "other"), Found::Nothing));
        let half = "[default]\naws_access_key_id=A";
        assert!(matches!(of_credentials(half, "default"), Found::Nothing));
    }

    #[test]
    fn a_role_goes_before_keys() {
        let text = "[a]\naws_access_key_id = A\naws_secret_access_key = a\nrole_arn = r\n\
                    [b]\naws_access_key_id = B\naws_secret_access_key = b\n\
                    credential_process = p\n";
        let role = of_credentials(text, "a");
        assert!(matches!(role, Found::Elsewhere("role_arn")), "{role:?}");
        assert_eq!(keys(of_credentials(text, "b")).access_key_id, "B");
    }

    #[test]
    fn the_config_file_says_profile() {
        let text = "[default]\nregion = r\ns3 =\n  aws_access_key_id = nested\n\
                    aws_access_key_id = A # mine\naws_secret_access_key = a\n\
                    [work]\naws_access_key_id = NO\naws_secret_access_key = n\n\
                    [profile work] ; of the office\naws_access_key_id = W\n\
                    aws_secret_access_key = w\n[profile other]\ncredential_process = /bin/keys\n";
        assert_eq!(keys(of_config(text, "default")).access_key_id, "A");
        assert_eq!(keys(of_config(text, "work")).access_key_id, "W");
        let other = of_config(text, "other");
        assert!(
            matches!(other, Found::Other("credential_process")),
            "{other:?}"
        );
    }
}
