//! Memory for files, before a row is measured.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// What the largest row writes in one round.
const BYTES: usize = 6 << 30;
const BYTES_OF_A_QUICK_ROW: usize = 1 << 30;

const PIECE_BYTES: usize = 1 << 20;

/// Writes a file and removes it, so that its pages are free again. A virtual machine may get memory
/// from its host only at the first touch, which takes several times as long as a write: whoever
/// wrote next would pay for it, one server more than another.
pub(crate) fn touch(folder: &Path, quick: bool) -> std::io::Result<()> {
    let bytes = if quick { BYTES_OF_A_QUICK_ROW } else { BYTES };
    let path = folder.join("memory");
    let (mut file, piece) = (File::create(&path)?, vec![0; PIECE_BYTES]);
    for _ in 0..bytes / PIECE_BYTES {
        file.write_all(&piece)?;
    }
    drop(file);
    fs::remove_file(path)
}
