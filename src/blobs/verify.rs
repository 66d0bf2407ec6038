//! Hashes files again: from the page cache, or from the device itself.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags};
use wharfinger_oci::{Algorithm, Hasher};

/// What is read at once: large enough for the throughput of a disk.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Direct reads need memory, offsets and lengths that are multiples of the device's block; 4096 is
/// the largest block in use.
const BLOCK_BYTES: usize = 4096;

/// Hashes the file as the kernel would give it to any reader.
pub(crate) fn hash(file: &File, algorithm: Algorithm) -> io::Result<Hasher> {
    hash_by_blocks(file, algorithm)
}

/// Hashes the bytes that are on the device, not those in the page cache: after a failed write the
/// cache holds bytes that the device never got, and the kernel takes them for written.
///
/// Where the filesystem has no direct reads, the clean pages are dropped and read again; that is
/// an advice the kernel may follow in part only.
pub(crate) fn hash_from_device(path: &Path, algorithm: Algorithm) -> io::Result<Hasher> {
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
        .and_then(|file| hash_by_blocks(&file, algorithm));
    match direct {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let file = File::open(path)?;
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
            hash(&file, algorithm)
        }
        hashed => hashed,
    }
}

fn hash_by_blocks(file: &File, algorithm: Algorithm) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    let mut memory = vec![0; BUFFER_BYTES + BLOCK_BYTES];
    let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
    let buffer = &mut memory[start..start + BUFFER_BYTES];
    let mut offset = 0;
    loop {
        match file.read_at(buffer, offset) {
            Ok(read) => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
                // A read that ends within a block has met the end of the file; a direct read could
                // not go on from there.
                if read == 0 || !read.is_multiple_of(BLOCK_BYTES) {
                    return Ok(hasher);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_device_has_what_was_written_and_synced() {
        // Beside the build, since /tmp may have no device.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let path = folder.path().join("file");
        for length in [0, 1, BLOCK_BYTES, BUFFER_BYTES, BUFFER_BYTES + 4_097] {
            let bytes = vec![7; length];
            fs::write(&path, &bytes).expect("written");
            File::open(&path)
                .expect("there")
                .sync_all()
                .expect("synced");
            let mut expected = Hasher::new(Algorithm::Sha256);
            expected.update(&bytes);
            let cached = hash(&File::open(&path).expect("there"), Algorithm::Sha256);
            let direct = hash_from_device(&path, Algorithm::Sha256);
            for hashed in [cached, direct] {
                let state = hashed.expect("read").to_state();
                assert_eq!(state, expected.to_state(), "{length}");
            }
        }
    }
}
