//! The database of RPM as a hash database of Berkeley DB. PURE.
//!
//! Every page of a bucket has pairs of a key, the number of a package, and a header. A header that
//! does not fit into a page lies in a chain of overflow pages. All buckets are read in the order of
//! the file: no hash is computed.
//!
//! Source: Berkeley DB 5.3, `src/dbinc/db_page.h` and `hash.h`.

use crate::inventory::rpm::bytes::{ByteOrder, length, number, short};
use crate::inventory::rpm::{Found, MAX_HEADER_BYTES};

const HASH_MAGIC: u32 = 0x0006_1561;
/// Versions of the format with this structure of pages: since Berkeley DB 4.0.
const VERSIONS: std::ops::RangeInclusive<u32> = 7..=10;
/// The sizes of pages that Berkeley DB allows, in bytes.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=65_536;
/// Pages have a checksum, and headers that are longer.
const FLAG_CHECKSUM: u8 = 1;
const PAGE_HEADER_BYTES: usize = 26;
const PAGE_HASH_UNSORTED: u8 = 2;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_HASH: u8 = 13;
const ITEM_IN_PAGE: u8 = 1;
const ITEM_OFF_PAGE: u8 = 3;
const ITEM_OFF_PAGE_BYTES: usize = 12;
/// Under the number 0 RPM has no header, but the last number.
const LAST_NUMBER_KEY: &[u8] = &[ITEM_IN_PAGE, 0, 0, 0, 0];

/// Reads the packages of `Packages`. No page is read twice, since none belongs to two headers.
///
/// # Errors
/// Why the file cannot be read.
pub(super) fn read(bytes: &[u8], found: &mut Found) -> Result<(), String> {
    let mut database = Database::open(bytes)?;
    for page in bytes.chunks_exact(database.page_bytes).skip(1) {
        found.check()?;
        if !matches!(page[25], PAGE_HASH | PAGE_HASH_UNSORTED) {
            continue;
        }
        let items = short(page, 20, database.order).ok_or_else(damaged)?;
        let (mut end, mut key) = (page.len(), [].as_slice());
        for index in 0..items {
            let item = database.item(page, index, items, end).ok_or_else(damaged)?;
            end -= item.len();
            // Keys and values alternate.
            if index % 2 == 0 {
                key = item;
                continue;
            }
            if key == LAST_NUMBER_KEY {
                continue;
            }
            let wants_more = match item.first() {
                Some(&ITEM_IN_PAGE) => found.add(&item[1..])?,
                Some(&ITEM_OFF_PAGE) => {
                    let header = database.overflow(item).ok_or_else(damaged)?;
                    found.add(&header)?
                }
                // RPM writes no duplicates.
                _ => return Err(damaged()),
            };
            if !wants_more {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn damaged() -> String {
    "the Berkeley DB database is damaged".to_owned()
}

struct Database<'a> {
    bytes: &'a [u8],
    page_bytes: usize,
    order: ByteOrder,
    /// Overflow pages that may still be read.
    pages_left: usize,
}

impl<'a> Database<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let orders = [ByteOrder::Little, ByteOrder::Big].into_iter();
        let order = orders
            .into_iter()
            .find(|order| number(bytes, 12, *order) == Some(HASH_MAGIC))
            .ok_or("it is no hash database of Berkeley DB")?;
        let version = number(bytes, 16, order).ok_or_else(damaged)?;
        if !VERSIONS.contains(&version) {
            return Err(format!(
                "version {version} of Berkeley DB's hash is not known"
            ));
        }
        let page_bytes = length(bytes, 20, order).ok_or_else(damaged)?;
        if !PAGE_SIZES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return Err(damaged());
        }
        let (encryption, flags) = (bytes.get(24), bytes.get(26));
        let plain = encryption == Some(&0) && flags.is_some_and(|flags| flags & FLAG_CHECKSUM == 0);
        if !plain {
            return Err("pages with checksums or encryption are not supported".to_owned());
        }
        let last_page = length(bytes, 32, order).ok_or_else(damaged)?;
        let pages = bytes.len() / page_bytes;
        if last_page >= pages {
            return Err(damaged());
        }
        Ok(Self {
            bytes,
            page_bytes,
            order,
            pages_left: pages,
        })
    }

    /// The item of a page that ends at `end`, where the one before it begins. None is empty, and
    /// none overlaps with the table of their offsets.
    fn item<'p>(&self, page: &'p [u8], index: usize, items: usize, end: usize) -> Option<&'p [u8]> {
        let start = short(page, PAGE_HEADER_BYTES + 2 * index, self.order)?;
        let is_apart = start >= PAGE_HEADER_BYTES + 2 * items && start < end;
        is_apart.then(|| page.get(start..end)).flatten()
    }

    /// The header that an item refers to.
    fn overflow(&mut self, item: &[u8]) -> Option<Vec<u8>> {
        if item.len() != ITEM_OFF_PAGE_BYTES {
            return None;
        }
        let mut next = length(item, 4, self.order)?;
        let total = length(item, 8, self.order)?;
        if total > MAX_HEADER_BYTES {
            return None;
        }
        let mut header = Vec::new();
        while next != 0 && header.len() < total {
            self.pages_left = self.pages_left.checked_sub(1)?;
            let start = next.checked_mul(self.page_bytes)?;
            let page = self.bytes.get(start..start.checked_add(self.page_bytes)?)?;
            if page[25] != PAGE_OVERFLOW {
                return None;
            }
            let used = short(page, 22, self.order)?;
            header.extend_from_slice(page.get(PAGE_HEADER_BYTES..)?.get(..used)?);
            next = length(page, 16, self.order)?;
        }
        (header.len() == total).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use crate::inventory::rpm::RpmFormat;
    use crate::inventory::rpm::tests::{bash, damage, read};

    use super::*;

    /// Made by Berkeley DB 5.3 of headers of RPM, see `fixtures/make.sh`.
    const PACKAGES: &[u8] = include_bytes!("fixtures/Packages");
    const BIG_ENDIAN: &[u8] = include_bytes!("fixtures/Packages.big-endian");

    fn sorted(bytes: &[u8]) -> Vec<String> {
        let mut found = read(RpmFormat::Berkeley, bytes, 10).expect("a database");
        found.sort();
        found
    }

    #[test]
    fn databases_of_berkeley_db_itself_are_read() {
        let expected = ["hello@4:1.2-3", "large@2.0-3"];
        assert_eq!(sorted(PACKAGES), expected);
        assert_eq!(sorted(BIG_ENDIAN), expected);
        let one = read(RpmFormat::Berkeley, PACKAGES, 1).expect("a database");
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |bytes: &[u8]| read(RpmFormat::Berkeley, bytes, 10).expect_err("no database");
        assert_eq!(of(b"junk"), "it is no hash database of Berkeley DB");
        assert_eq!(of(&PACKAGES[..PACKAGES.len() - 1]), damaged());
        let changed = |at: usize, byte: u8| {
            let mut bytes = PACKAGES.to_vec();
            bytes[at] = byte;
            of(&bytes)
        };
        assert_eq!(
            changed(16, 3),
            "version 3 of Berkeley DB's hash is not known"
        );
        assert_eq!(changed(21, 0x11), damaged(), "no power of two");
        let unsupported = "pages with checksums or encryption are not supported";
        assert_eq!(changed(24, 1), unsupported);
        assert_eq!(changed(26, FLAG_CHECKSUM), unsupported);
    }

    #[test]
    fn a_chain_that_leads_back_ends() {
        let page_bytes = 512;
        let mut bytes = BIG_ENDIAN.to_vec();
        let mut overflow = (0..bytes.len() / page_bytes)
            .filter(|page| bytes[page * page_bytes + 25] == PAGE_OVERFLOW);
        let page = overflow.next().expect("an overflow page");
        let own = u32::try_from(page).expect("few pages").to_be_bytes();
        bytes[page * page_bytes + 16..page * page_bytes + 20].copy_from_slice(&own);
        // Its header has no bytes, so that the length never ends the chain.
        bytes[page * page_bytes + 22..page * page_bytes + 24].fill(0);
        assert_eq!(read(RpmFormat::Berkeley, &bytes, 10), Err(damaged()));
    }

    /// A database of one page with items at these offsets, and a header at the last one.
    fn database_with(offsets: &[u16]) -> Vec<u8> {
        const PAGE: usize = 512;
        let mut bytes = vec![0; 2 * PAGE];
        for (at, value) in [(12, HASH_MAGIC), (16, 9), (20, 512), (32, 1)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let page = &mut bytes[PAGE..];
        let count = u16::try_from(offsets.len()).expect("few");
        page[20..22].copy_from_slice(&count.to_le_bytes());
        page[25] = PAGE_HASH;
        for (index, offset) in offsets.iter().enumerate() {
            let at = PAGE_HEADER_BYTES + 2 * index;
            page[at..at + 2].copy_from_slice(&offset.to_le_bytes());
        }
        let item = [&[ITEM_IN_PAGE], bash().as_slice()].concat();
        let start = usize::from(*offsets.last().expect("an item"));
        page[start..start + item.len()].copy_from_slice(&item);
        bytes
    }

    #[test]
    fn items_of_a_page_do_not_overlap() {
        let of = |offsets: &[u16]| read(RpmFormat::Berkeley, &database_with(offsets), 10);
        assert_eq!(of(&[500, 100]), Ok(vec!["bash@2:5.1.8-6.el9".to_owned()]));
        for overlapping in [
            [500, 100, 500, 100],
            [500, 100, 300, 100],
            [500, 500, 499, 100],
        ] {
            assert_eq!(of(&overlapping), Err(damaged()), "{overlapping:?}");
        }
        // The table of offsets would be in the item.
        assert_eq!(of(&[500, 29]), Err(damaged()));
    }

    proptest::proptest! {
        #[test]
        fn damaged_databases_never_panic(
            at in 0..20_000_usize, byte in proptest::num::u8::ANY, cut in 0..40_000_usize,
        ) {
            damage(RpmFormat::Berkeley, PACKAGES, at, byte, cut);
            damage(RpmFormat::Berkeley, BIG_ENDIAN, at, byte, cut);
        }
    }
}
