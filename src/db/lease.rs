//! A named row held for a while: who holds it may do the work that the name stands for, until it
//! expires.

use std::time::Duration;

use wharfinger_base::Timestamp;

use crate::engine::Tx;
use crate::error::Result;

/// A lease as its holder knows it. Every change is a compare-and-set on (holder, term), made inside
/// the caller's transaction, so work can be written in the transaction that proves the lease still
/// held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: String,
    holder: String,
    term: i64,
    expires_at: Timestamp,
}

impl Lease {
    /// Takes the lease `name` until `now` + `hold`, or gives `None` while another holder's has not
    /// expired. A holder that asks again for its own lease gets a new term; its older handles
    /// are then void.
    pub fn acquire(
        tx: &mut Tx<'_>,
        name: &str,
        holder: &str,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let expires_at = now.plus(hold);
        let term = tx.query_optional(
            "INSERT INTO leases (name, holder, term, expires_at) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, term = leases.term + 1, expires_at = excluded.expires_at
             WHERE leases.expires_at <= ?4 OR leases.holder = excluded.holder
             RETURNING term",
            crate::params![name, holder, expires_at, now],
            |row| Ok(row.integer(0)),
        )?;
        Ok(term.map(|term| Self {
            name: name.to_owned(),
            holder: holder.to_owned(),
            term,
            expires_at,
        }))
    }

    /// Extends the lease until `now` + `hold`; false (and void) where it expired or changed hands.
    pub fn renew(&mut self, tx: &mut Tx<'_>, hold: Duration, now: Timestamp) -> Result<bool> {
        let expires_at = now.plus(hold);
        let changed = tx.execute(
            "UPDATE leases SET expires_at = ?1 WHERE name = ?2 AND holder = ?3 AND term = ?4 AND expires_at > ?5",
            crate::params![expires_at, &self.name, &self.holder, self.term, now],
        )?;
        if changed == 1 {
            self.expires_at = expires_at;
        }
        Ok(changed == 1)
    }

    /// Gives the lease back at once; false where it was no longer ours. The row stays, so that
    /// terms keep growing.
    pub fn release(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let changed = tx.execute(
            "UPDATE leases SET expires_at = 0 WHERE name = ?1 AND holder = ?2 AND term = ?3",
            crate::params![&self.name, &self.holder, self.term],
        )?;
        Ok(changed == 1)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Grows with each change of hands: a number for fencing off a holder that comes late.
    pub const fn term(&self) -> i64 {
        self.term
    }

    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
