//! Output of commands.

use std::io::{self, Write as _};

/// Writes to stdout.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
