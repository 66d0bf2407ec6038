//! Numbers in the files of databases. PURE: no offset is trusted.

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// The number of four bytes at an offset; `None` beyond the end.
pub(super) fn number(bytes: &[u8], at: usize, order: ByteOrder) -> Option<u32> {
    let found = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(match order {
        ByteOrder::Little => u32::from_le_bytes(found),
        ByteOrder::Big => u32::from_be_bytes(found),
    })
}

/// The number of four bytes at an offset as a length or an offset.
pub(super) fn length(bytes: &[u8], at: usize, order: ByteOrder) -> Option<usize> {
    usize::try_from(number(bytes, at, order)?).ok()
}

/// The number of two bytes at an offset; `None` beyond the end.
pub(super) fn short(bytes: &[u8], at: usize, order: ByteOrder) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(usize::from(match order {
        ByteOrder::Little => u16::from_le_bytes(found),
        ByteOrder::Big => u16::from_be_bytes(found),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_the_bytes_do() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(number(&bytes, 0, ByteOrder::Little), Some(0x0403_0201));
        assert_eq!(number(&bytes, 1, ByteOrder::Big), Some(0x0203_0405));
        assert_eq!(number(&bytes, 2, ByteOrder::Big), None);
        assert_eq!(number(&bytes, usize::MAX, ByteOrder::Big), None);
        assert_eq!(short(&bytes, 3, ByteOrder::Little), Some(0x0504));
        assert_eq!(short(&bytes, 4, ByteOrder::Little), None);
        assert_eq!(length(&bytes, 0, ByteOrder::Big), Some(0x0102_0304));
    }
}
