//! Encoded authorization messages: why a request was denied, for those who may know it.
//!
//! The message of a denial says little, since its details tell what policies contain. They are
//! sealed beside it, and `DecodeAuthorizationMessage` opens them for callers of the same account
//! that have the permission. Source: STS API reference, `DecodeAuthorizationMessage`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use wharfinger_aws::AccountId;
use wharfinger_base::Ids;

use crate::error::Error;
use crate::seal::{MasterKey, Purpose, TokenSeal};

/// Length of an id, which stands before the sealed text.
const ID_CHARS: usize = 32;

/// Seals messages and opens them.
pub struct AuthorizationMessages {
    seal: TokenSeal,
    ids: Ids,
}

impl AuthorizationMessages {
    pub(super) fn new(master: &MasterKey, ids: Ids) -> Self {
        Self {
            seal: TokenSeal::new(master, Purpose::AuthorizationMessage, ids.clone()),
            ids,
        }
    }

    /// Seals a message for the account of the caller that was denied. The result has letters,
    /// digits, `-` and `_`.
    #[must_use]
    pub fn encode(&self, account: AccountId, message: &str) -> String {
        let id = self.ids.uuid().simple().to_string();
        let sealed = self.seal.seal(&key_id(account, &id), message.as_bytes());
        id + &BASE64_URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Opens a message of the account.
    ///
    /// # Errors
    /// [`Error::AuthorizationMessage`] for anything else.
    pub fn decode(&self, account: AccountId, encoded: &str) -> Result<String, Error> {
        let invalid = || Error::AuthorizationMessage;
        let (id, sealed) = encoded.split_at_checked(ID_CHARS).ok_or_else(invalid)?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed);
        let opened = self
            .seal
            .open(&key_id(account, id), &sealed.map_err(|_| invalid())?);
        let text = opened.map_err(|_| invalid())?.into_inner();
        String::from_utf8(text).map_err(|_| invalid())
    }
}

fn key_id(account: AccountId, id: &str) -> String {
    format!("{account} {id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_opened_for_its_account_alone() {
        let ids = Ids::default();
        let messages = AuthorizationMessages::new(&MasterKey::random(&ids), ids.clone());
        let other: AccountId = "999988887777".parse().expect("an account");
        let encoded = messages.encode(AccountId::DEV, "because");
        assert_eq!(
            messages.decode(AccountId::DEV, &encoded),
            Ok("because".to_owned())
        );
        assert_ne!(messages.encode(AccountId::DEV, "because"), encoded);
        let refused = Err(Error::AuthorizationMessage);
        assert_eq!(messages.decode(other, &encoded), refused);
        let strange = AuthorizationMessages::new(&MasterKey::random(&ids), ids);
        assert_eq!(strange.decode(AccountId::DEV, &encoded), refused);
        for at in 0..encoded.len() {
            let mut changed = encoded.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(messages.decode(AccountId::DEV, &changed), refused, "{at}");
        }
        for bad in ["", "short", "\u{e9}".repeat(40).as_str()] {
            assert_eq!(messages.decode(AccountId::DEV, bad), refused);
        }
    }
}
