//! A file with two contents: what readers see, and what is on the device.

use std::collections::BTreeMap;

use crate::random::Random;

pub(crate) const PAGE: usize = 4096;

/// Bytes on the device, and over them the pages that differ in the cache.
#[derive(Debug, Default)]
pub(crate) struct FileData {
    durable: Vec<u8>,
    /// Of the bytes on the device, so many are still part of the file; what follows was cut off.
    visible: usize,
    length: usize,
    pages: BTreeMap<usize, Page>,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    state: State,
}

/// Of a page or entry that differs from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The next sync writes it.
    Dirty,
    /// A write to the device has failed. The kernel takes it for written: it stays in the cache,
    /// and no sync writes it any more.
    Lost,
}

impl FileData {
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// What any reader sees.
    pub(crate) fn read(&self, offset: usize, size: usize) -> Vec<u8> {
        let end = self.length.min(offset.saturating_add(size));
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, start) = (at / PAGE, at % PAGE);
            let stop = PAGE.min(start + end - at);
            match self.pages.get(&number) {
                Some(page) => bytes.extend_from_slice(&page.bytes[start..stop]),
                None => bytes.extend_from_slice(&self.on_device(number)[start..stop]),
            }
            at += stop - start;
        }
        bytes
    }

    /// What is on the device, as direct reads see it.
    pub(crate) fn read_device(&self, offset: usize, size: usize) -> Vec<u8> {
        let end = self.length.min(offset.saturating_add(size));
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, start) = (at / PAGE, at % PAGE);
            let stop = PAGE.min(start + end - at);
            bytes.extend_from_slice(&self.on_device(number)[start..stop]);
            at += stop - start;
        }
        bytes
    }

    fn on_device(&self, number: usize) -> Box<[u8]> {
        let mut bytes = vec![0; PAGE].into_boxed_slice();
        let (start, end) = (number * PAGE, self.visible.min((number + 1) * PAGE));
        if start < end {
            bytes[..end - start].copy_from_slice(&self.durable[start..end]);
        }
        bytes
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done;
            let start = at % PAGE;
            let count = (PAGE - start).min(data.len() - done);
            self.dirty(at / PAGE)[start..start + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
        self.length = self.length.max(offset + data.len());
    }

    fn dirty(&mut self, number: usize) -> &mut [u8] {
        let current = match self.pages.remove(&number) {
            Some(page) => page.bytes,
            None => self.on_device(number),
        };
        let page = self.pages.entry(number).or_insert(Page {
            bytes: current,
            state: State::Dirty,
        });
        &mut page.bytes
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        if length < self.length {
            if !length.is_multiple_of(PAGE) {
                self.dirty(length / PAGE)[length % PAGE..].fill(0);
            }
            self.pages.retain(|number, _| number * PAGE < length);
            self.visible = self.visible.min(length);
        }
        self.length = length;
    }

    /// Writes all dirty pages to the device.
    pub(crate) fn sync(&mut self) {
        self.write_back(|| true);
    }

    /// Some dirty pages reach the device, the others are lost.
    pub(crate) fn fail_write_back(&mut self, random: &mut Random) {
        self.write_back(|| random.coin());
        for page in self.pages.values_mut() {
            page.state = State::Lost;
        }
    }

    /// Writes the dirty pages that `chosen` chooses, and the length.
    fn write_back(&mut self, mut chosen: impl FnMut() -> bool) {
        self.durable.truncate(self.visible);
        self.durable.resize(self.length, 0);
        self.visible = self.length;
        let (durable, length) = (&mut self.durable, self.length);
        self.pages.retain(|number, page| {
            if page.state == State::Lost || !chosen() {
                return true;
            }
            let (start, end) = (number * PAGE, length.min((number + 1) * PAGE));
            if start < end {
                durable[start..end].copy_from_slice(&page.bytes[..end - start]);
            }
            false
        });
    }

    /// Power fails: of what was not synced, nothing, all or some is on the device.
    pub(crate) fn cut_power(&mut self, random: &mut Random) {
        let kept = random.below(4);
        if self.has_changes() && kept > 0 {
            self.write_back(|| kept == 1 || (kept == 2 && random.coin()));
        }
        self.pages.clear();
        self.length = self.durable.len();
        self.visible = self.length;
    }

    fn has_changes(&self) -> bool {
        !self.pages.is_empty() || self.visible != self.durable.len() || self.length != self.visible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_the_cache_and_direct_readers_the_device() {
        let mut file = FileData::default();
        file.write(4_090, b"across pages");
        assert_eq!(file.read(4_090, 100), b"across pages");
        assert_eq!(file.read_device(4_090, 12), [0; 12]);
        file.sync();
        assert_eq!(file.read_device(4_090, 12), b"across pages");
        file.truncate(4_096);
        assert_eq!(file.read(4_090, 100), b"across");
        file.truncate(4_102);
        assert_eq!(file.read(4_090, 100), b"across\0\0\0\0\0\0");
    }

    #[test]
    fn a_page_that_could_not_be_written_is_never_written_again() {
        let mut random = Random::new(1);
        let mut lost = 0;
        for _ in 0..100 {
            let mut file = FileData::default();
            file.write(0, b"bytes");
            file.fail_write_back(&mut random);
            file.sync();
            assert_eq!(file.read(0, 5), b"bytes");
            lost += usize::from(file.read_device(0, 5) != b"bytes");
        }
        assert!((20..80).contains(&lost), "{lost}");
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced() {
        let mut random = Random::new(2);
        let (mut forgotten, mut kept) = (0, 0);
        for _ in 0..200 {
            let mut file = FileData::default();
            file.write(0, &[1; 10_000]);
            file.sync();
            file.write(10_000, &[2; 10_000]);
            file.cut_power(&mut random);
            assert_eq!(file.read(0, 10_000), [1; 10_000]);
            forgotten += usize::from(file.length() == 10_000);
            kept += usize::from(file.read(10_000, 10_000) == [2; 10_000]);
        }
        assert!(forgotten > 20 && kept > 20, "{forgotten} {kept}");
    }
}
