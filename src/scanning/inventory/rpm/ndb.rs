//! The database of RPM in the NDB format: a table of slots, each of which points to a header in
//! blocks of 16 bytes. PURE.
//!
//! Source: RPM, `lib/backend/ndb/rpmpkg.c`.

use crate::inventory::rpm::Found;
use crate::inventory::rpm::bytes::{ByteOrder, length, number};

const ORDER: ByteOrder = ByteOrder::Little;
const FILE_MAGIC: &[u8] = b"RpmP";
const VERSION: u32 = 0;
/// The slots fill pages of this size, the first of which begins with the header of the file.
const PAGE_BYTES: usize = 4096;
const FILE_HEADER_BYTES: usize = 32;
const SLOT_MAGIC: &[u8] = b"Slot";
const SLOT_BYTES: usize = 16;
/// Offsets and lengths of headers are counted in blocks.
const BLOCK_BYTES: usize = 16;
const BLOB_MAGIC: &[u8] = b"BlbS";
/// Before the header of a package: magic, number, generation, length.
const BLOB_HEAD_BYTES: usize = 16;
/// After it: checksum, length, magic.
const BLOB_TAIL_BYTES: usize = 12;

/// Reads the packages of `Packages.db`. All headers together are no longer than the file, since
/// no block belongs to two of them.
///
/// # Errors
/// Why the file cannot be read.
pub(super) fn read(bytes: &[u8], found: &mut Found) -> Result<(), String> {
    if !bytes.starts_with(FILE_MAGIC) {
        return Err("it is no NDB database".to_owned());
    }
    if number(bytes, 4, ORDER) != Some(VERSION) {
        return Err("its version of NDB is not known".to_owned());
    }
    let table = slots(bytes).ok_or_else(damaged)?;
    let mut bytes_left = bytes.len();
    for page in table.chunks(PAGE_BYTES) {
        found.check()?;
        for slot in page.chunks_exact(SLOT_BYTES) {
            let Some(place) = Place::of(slot).map_err(|()| damaged())? else {
                continue;
            };
            let (blob, size) = place.blob(bytes).ok_or_else(damaged)?;
            bytes_left = bytes_left.checked_sub(size).ok_or_else(damaged)?;
            if !found.add(blob)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn damaged() -> String {
    "the NDB database is damaged".to_owned()
}

/// The table of slots.
fn slots(bytes: &[u8]) -> Option<&[u8]> {
    let pages = length(bytes, 12, ORDER)?;
    bytes.get(FILE_HEADER_BYTES..pages.checked_mul(PAGE_BYTES)?)
}

/// Where a package is.
struct Place {
    package: u32,
    first_block: usize,
    blocks: usize,
}

impl Place {
    /// The place that a slot names; `None` where the slot is free, an error where it is none.
    fn of(slot: &[u8]) -> Result<Option<Self>, ()> {
        if !slot.starts_with(SLOT_MAGIC) {
            return Err(());
        }
        let first_block = length(slot, 8, ORDER).ok_or(())?;
        if first_block == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            package: number(slot, 4, ORDER).ok_or(())?,
            first_block,
            blocks: length(slot, 12, ORDER).ok_or(())?,
        }))
    }

    /// The header of the package, and how many bytes its blocks have.
    fn blob<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let start = self.first_block.checked_mul(BLOCK_BYTES)?;
        let size = self.blocks.checked_mul(BLOCK_BYTES)?;
        let whole = bytes.get(start..start.checked_add(size)?)?;
        let is_of_package =
            whole.starts_with(BLOB_MAGIC) && number(whole, 4, ORDER)? == self.package;
        let content = size.checked_sub(BLOB_HEAD_BYTES + BLOB_TAIL_BYTES)?;
        let length = length(whole, 12, ORDER)?;
        if !is_of_package || length > content {
            return None;
        }
        Some((whole.get(BLOB_HEAD_BYTES..)?.get(..length)?, size))
    }
}

#[cfg(test)]
mod tests {
    use crate::inventory::rpm::tests::{damage, read};
    use crate::inventory::rpm::{RpmFormat, bytes};

    use super::*;

    /// Made by RPM 4.16, see `fixtures/make.sh`.
    const PACKAGES: &[u8] = include_bytes!("fixtures/Packages.db");

    #[test]
    fn the_database_of_rpm_itself_is_read() {
        let mut found = read(RpmFormat::Ndb, PACKAGES, 10).expect("a database");
        found.sort();
        assert_eq!(found, ["hello@4:1.2-3", "large@2.0-3"]);
        let one = read(RpmFormat::Ndb, PACKAGES, 1).expect("a database");
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |bytes: &[u8]| read(RpmFormat::Ndb, bytes, 10).expect_err("a damaged database");
        assert_eq!(of(b"junk"), "it is no NDB database");
        assert_eq!(of(b"RpmP\x01\0\0\0"), "its version of NDB is not known");
        assert_eq!(of(&PACKAGES[..PACKAGES.len() - 16]), damaged());
        assert_eq!(of(&PACKAGES[..100]), damaged());
        // Slots that point to the same blocks: together these would be longer than the file.
        let mut twice = PACKAGES.to_vec();
        let slot = FILE_HEADER_BYTES;
        let copied = twice[slot..slot + 2 * SLOT_BYTES].to_vec();
        twice[slot + 2 * SLOT_BYTES..slot + 4 * SLOT_BYTES].copy_from_slice(&copied);
        assert_eq!(of(&twice), damaged());
        let mut beyond = PACKAGES.to_vec();
        beyond[slot + 8..slot + 16].fill(0xff);
        assert_eq!(bytes::number(&beyond, slot + 8, ORDER), Some(u32::MAX));
        assert_eq!(of(&beyond), damaged());
    }

    proptest::proptest! {
        #[test]
        fn damaged_databases_never_panic(
            at in 0..5000_usize, byte in proptest::num::u8::ANY, cut in 0..20_000_usize,
        ) {
            damage(RpmFormat::Ndb, PACKAGES, at, byte, cut);
        }
    }
}
