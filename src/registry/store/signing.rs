//! Rows of `signing_keys` and `image_signatures`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::Digest;

use crate::model::{RegistryId, RepositoryId};
use crate::signing::model::{
    ProfileKey, SignatureState, SignatureStatus, SigningFailure, WaitingSignature,
};
use crate::store::digest;

/// Adds a key. Returns false where the name has one.
pub(crate) fn insert_key(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &str,
    key: &ProfileKey,
    sealed: &[u8],
) -> db::Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO signing_keys (account, region, name, sealed, public_key, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            name,
            sealed,
            key.public_key.as_str(),
            key.created_at.as_ms()
        ],
    )?;
    Ok(inserted > 0)
}

/// The public key, the sealed private key, and when it was made.
pub(crate) fn key(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &str,
) -> db::Result<Option<(String, Vec<u8>, Timestamp)>> {
    tx.query_optional(
        "SELECT public_key, sealed, created_at FROM signing_keys \
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![registry.account.as_str(), registry.region.as_str(), name],
        |row| {
            Ok((
                row.text(0).to_owned(),
                row.bytes(1).to_vec(),
                Timestamp::from_ms(row.integer(2)),
            ))
        },
    )
}

/// Records that an image is to be signed. One that is signed already is not signed again unless it
/// was deleted since; one that failed is tried again.
pub(crate) fn enqueue(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
    profile: &str,
    is_new: bool,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO image_signatures (repository_id, digest, profile, state, attempts, due_at, \
         pushed_at, failure_code, failure_reason)
         VALUES (?1, ?2, ?3, 'waiting', 0, ?4, ?4, '', '')
         ON CONFLICT (repository_id, digest, profile) DO UPDATE SET state = 'waiting', \
         attempts = 0, due_at = excluded.due_at, failure_code = '', failure_reason = ''
         WHERE image_signatures.state = 'failed' OR ?5 = 1",
        params![
            repository.0,
            image.to_stored(),
            profile,
            now.as_ms(),
            i64::from(is_new)
        ],
    )?;
    Ok(())
}

/// Up to `limit` signatures that are due, those that wait longest first.
pub(crate) fn due(
    tx: &mut Tx<'_>,
    now: Timestamp,
    limit: i64,
) -> db::Result<Vec<WaitingSignature>> {
    tx.query(
        "SELECT repository_id, digest, profile, attempts, due_at, pushed_at, signature \
         FROM image_signatures WHERE state = 'waiting' AND due_at <= ?1
         ORDER BY due_at LIMIT ?2",
        params![now.as_ms(), limit],
        read_waiting,
    )
}

/// Claims a signature until a time; `None` where it changed since it was read.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    seen: &WaitingSignature,
    until: Timestamp,
) -> db::Result<Option<WaitingSignature>> {
    let claimed = tx.execute(
        "UPDATE image_signatures SET due_at = ?1, attempts = attempts + 1
         WHERE repository_id = ?2 AND digest = ?3 AND profile = ?4 AND state = 'waiting' \
         AND attempts = ?5 AND due_at = ?6",
        params![
            until.as_ms(),
            seen.repository.0,
            seen.digest.to_stored(),
            seen.profile.as_str(),
            i64::from(seen.attempts),
            seen.due_at.as_ms()
        ],
    )?;
    Ok((claimed > 0).then(|| WaitingSignature {
        attempts: seen.attempts + 1,
        due_at: until,
        ..seen.clone()
    }))
}

/// Lets a claimed signature wait until it is tried again.
pub(crate) fn delay(
    tx: &mut Tx<'_>,
    claimed: &WaitingSignature,
    due_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "UPDATE image_signatures SET due_at = ?1
         WHERE repository_id = ?2 AND digest = ?3 AND profile = ?4 AND state = 'waiting' \
         AND attempts = ?5",
        params![
            due_at.as_ms(),
            claimed.repository.0,
            claimed.digest.to_stored(),
            claimed.profile.as_str(),
            i64::from(claimed.attempts)
        ],
    )?;
    Ok(())
}

/// Stores the signature itself, before it is pushed.
pub(crate) fn keep_signature(
    tx: &mut Tx<'_>,
    claimed: &WaitingSignature,
    signature: &[u8],
) -> db::Result<()> {
    let kept = tx.execute(
        "UPDATE image_signatures SET signature = ?1
         WHERE repository_id = ?2 AND digest = ?3 AND profile = ?4 AND state = 'waiting' \
         AND attempts = ?5",
        params![
            signature,
            claimed.repository.0,
            claimed.digest.to_stored(),
            claimed.profile.as_str(),
            i64::from(claimed.attempts)
        ],
    )?;
    if kept > 0 {
        Ok(())
    } else {
        Err(db::Error::Conflict)
    }
}

/// Ends a claimed signature: it is complete, or it has failed.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    claimed: &WaitingSignature,
    failure: Option<&SigningFailure>,
) -> db::Result<()> {
    let state = if failure.is_some() {
        "failed"
    } else {
        "complete"
    };
    let (code, reason) = failure.map_or(("", ""), |failure| (&failure.code, &failure.reason));
    tx.execute(
        "UPDATE image_signatures SET state = ?1, failure_code = ?2, failure_reason = ?3
         WHERE repository_id = ?4 AND digest = ?5 AND profile = ?6 AND state = 'waiting' \
         AND attempts = ?7",
        params![
            state,
            code,
            reason,
            claimed.repository.0,
            claimed.digest.to_stored(),
            claimed.profile.as_str(),
            i64::from(claimed.attempts)
        ],
    )?;
    Ok(())
}

/// Removes a claimed signature of an image that is gone.
pub(crate) fn remove(tx: &mut Tx<'_>, claimed: &WaitingSignature) -> db::Result<()> {
    tx.execute(
        "DELETE FROM image_signatures
         WHERE repository_id = ?1 AND digest = ?2 AND profile = ?3 AND state = 'waiting' \
         AND attempts = ?4",
        params![
            claimed.repository.0,
            claimed.digest.to_stored(),
            claimed.profile.as_str(),
            i64::from(claimed.attempts)
        ],
    )?;
    Ok(())
}

/// The signatures of an image, by profile.
pub(crate) fn statuses(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
) -> db::Result<Vec<SignatureStatus>> {
    tx.query(
        "SELECT profile, state, failure_code, failure_reason FROM image_signatures \
         WHERE repository_id = ?1 AND digest = ?2 ORDER BY profile",
        params![repository.0, image.to_stored()],
        |row| {
            let state = match row.text(1) {
                "waiting" => SignatureState::Waiting,
                "complete" => SignatureState::Complete,
                "failed" => SignatureState::Failed,
                _ => return Err(db::Error::other("a stored state of a signature")),
            };
            let failure = || SigningFailure::new(row.text(2), row.text(3));
            Ok(SignatureStatus {
                profile: row.text(0).to_owned(),
                state,
                failure: (state == SignatureState::Failed).then(failure),
            })
        },
    )
}

fn read_waiting(row: &Row<'_>) -> db::Result<WaitingSignature> {
    let attempts = u32::try_from(row.integer(3));
    Ok(WaitingSignature {
        repository: RepositoryId(row.integer(0)),
        digest: digest(row.bytes(1))?,
        profile: row.text(2).to_owned(),
        attempts: attempts.map_err(|_| db::Error::other("a stored number of attempts"))?,
        due_at: Timestamp::from_ms(row.integer(4)),
        pushed_at: Timestamp::from_ms(row.integer(5)),
        signature: row.optional_bytes(6).map(<[u8]>::to_vec),
    })
}
