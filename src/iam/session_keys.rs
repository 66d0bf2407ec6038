//! Access keys of sessions: ids that name their account, and secrets. PURE but for the random
//! numbers that they are made of.

use wharfinger_aws::AccountId;
use wharfinger_base::Ids;

/// The start of the access key ids of sessions.
const ID_PREFIX: &str = "ASIA";
/// Base 32, as the ids of AWS.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of an id that hold its account: 12 decimal digits are 40 bits.
const ACCOUNT_CHARS: usize = 8;
/// Random characters of an id. They need not be without repetition: the token, not the id, tells
/// sessions apart.
const RANDOM_CHARS: usize = 8;
/// Base 64. The 40 characters of a secret hold 240 bits.
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A new id for a session of this account.
pub(super) fn new_id(account: AccountId, ids: &Ids) -> String {
    let number: u64 = account.as_str().parse().unwrap_or_default();
    let mut id = ID_PREFIX.to_owned();
    for at in (0..ACCOUNT_CHARS).rev() {
        let digit = usize::try_from((number >> (5 * at)) & 31).unwrap_or_default();
        id.push(char::from(ID_ALPHABET[digit]));
    }
    id.push_str(&ids.text(ID_ALPHABET, RANDOM_CHARS));
    id
}

pub(super) fn new_secret(ids: &Ids) -> String {
    ids.text(SECRET_ALPHABET, 40)
}

/// Whether the text has the form of a session's access key id.
pub(super) fn is_id(text: &str) -> bool {
    account_of(text).is_some()
}

/// The account in a session's access key id.
pub(super) fn account_of(id: &str) -> Option<AccountId> {
    let rest = id.strip_prefix(ID_PREFIX)?.as_bytes();
    if rest.len() != ACCOUNT_CHARS + RANDOM_CHARS {
        return None;
    }
    let mut number = 0_u64;
    for (at, byte) in rest.iter().enumerate() {
        let digit = ID_ALPHABET.iter().position(|known| known == byte)?;
        if at < ACCOUNT_CHARS {
            number = number * 32 + digit as u64;
        }
    }
    format!("{number:012}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_account() {
        let ids = Ids::default();
        for account in ["000000000000", "123456789012", "999999999999"] {
            let account: AccountId = account.parse().expect("an account");
            let id = new_id(account, &ids);
            assert_eq!((id.len(), account_of(&id)), (20, Some(account)));
            assert_ne!(new_id(account, &ids), id);
        }
        for bad in [
            "",
            "ASIA",
            "ASIAAAAAAAAAAAAAAAA",
            "ASIAAAAAAAAAAAAAAAAAA",
            "AKIAAAAAAAAAAAAAAAAA",
            "ASIAaAAAAAAAAAAAAAAA",
            "ASIAAAAAAAAAAAAAAAA1",
            "ASIA77777777AAAAAAAA",
        ] {
            assert_eq!(account_of(bad), None, "{bad}");
        }
    }
}
