//! The row of `identity_generation`.

use wharfinger_db::{Result, Tx, params};

/// The generation of all identities; 0 before the first change.
pub(crate) fn generation(tx: &mut Tx<'_>) -> Result<i64> {
    let sql = "SELECT generation FROM identity_generation WHERE id = 1";
    let found = tx.query_optional(sql, params![], |row| Ok(row.integer(0)))?;
    Ok(found.unwrap_or_default())
}

pub(crate) fn set_generation(tx: &mut Tx<'_>, generation: i64) -> Result<()> {
    let sql = "INSERT INTO identity_generation (id, generation) VALUES (1, ?1)
        ON CONFLICT (id) DO UPDATE SET generation = excluded.generation";
    tx.execute(sql, params![generation]).map(drop)
}
