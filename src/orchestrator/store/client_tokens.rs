//! Rows of `client_tokens`: what a client token was used for.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::ClusterId;
use crate::store::row_count;

/// A client token in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenKey {
    pub(crate) cluster: ClusterId,
    /// Such as `RunTask`.
    pub(crate) operation: &'static str,
    pub(crate) token: String,
}

/// The request that a token came with, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenUse {
    /// What makes two requests the same.
    pub(crate) request: String,
    /// What the request made, in a form of the operation.
    pub(crate) result: String,
    pub(crate) created_at: Timestamp,
}

/// What the token was used for.
pub(crate) fn get(tx: &mut Tx<'_>, key: &TokenKey) -> db::Result<Option<TokenUse>> {
    tx.query_optional(
        "SELECT request, result, created_at FROM client_tokens
         WHERE cluster_id = ?1 AND operation = ?2 AND token = ?3",
        params![&key.cluster.0, key.operation, &key.token],
        |row| {
            Ok(TokenUse {
                request: row.text(0).to_owned(),
                result: row.text(1).to_owned(),
                created_at: Timestamp::from_ms(row.integer(2)),
            })
        },
    )
}

/// Records the use of a token and returns true, or changes nothing and returns false where it was
/// used before.
pub(crate) fn insert(tx: &mut Tx<'_>, key: &TokenKey, used: &TokenUse) -> db::Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO client_tokens (cluster_id, operation, token, request, result, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (cluster_id, operation, token) DO NOTHING",
        params![
            &key.cluster.0,
            key.operation,
            &key.token,
            &used.request,
            &used.result,
            used.created_at
        ],
    )?;
    Ok(inserted == 1)
}

/// Records the use of a token in place of an earlier one.
pub(crate) fn put(tx: &mut Tx<'_>, key: &TokenKey, used: &TokenUse) -> db::Result<()> {
    let written = tx.execute(
        "INSERT INTO client_tokens (cluster_id, operation, token, request, result, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (cluster_id, operation, token)
         DO UPDATE SET request = excluded.request, result = excluded.result,
         created_at = excluded.created_at",
        params![
            &key.cluster.0,
            key.operation,
            &key.token,
            &used.request,
            &used.result,
            used.created_at
        ],
    );
    written.map(drop)
}

/// Forgets up to `limit` uses before `before`; returns how many.
pub(crate) fn delete_before(tx: &mut Tx<'_>, before: Timestamp, limit: usize) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM client_tokens WHERE (cluster_id, operation, token) IN
         (SELECT cluster_id, operation, token FROM client_tokens WHERE created_at < ?1
          ORDER BY created_at LIMIT ?2)",
        params![before, row_count(limit)],
    )
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;

    #[tokio::test]
    async fn the_first_use_of_a_token_stays() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let key = TokenKey {
                    cluster: ClusterId("c".to_owned()),
                    operation: "RunTask",
                    token: "t".to_owned(),
                };
                let used = |request: &str, ms| TokenUse {
                    request: request.to_owned(),
                    result: "r".to_owned(),
                    created_at: Timestamp::from_ms(ms),
                };
                assert_eq!(get(tx, &key)?, None);
                assert!(insert(tx, &key, &used("first", 1))?);
                assert!(!insert(tx, &key, &used("second", 2))?);
                assert_eq!(get(tx, &key)?, Some(used("first", 1)));
                assert_eq!(delete_before(tx, Timestamp::from_ms(1), 9)?, 0);
                assert_eq!(delete_before(tx, Timestamp::from_ms(2), 9)?, 1);
                assert_eq!(get(tx, &key)?, None);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
