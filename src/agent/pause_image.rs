//! An image with one program that waits for ever: it holds the network namespace of a task. PURE.
//!
//! The program is a dozen bytes of machine code, so that no image has to be fetched from anywhere.

/// The image's name. Its number changes with its content.
pub(crate) const NAME: &str = "wharfinger/pause:1";
/// The path of the program.
pub(crate) const PROGRAM: &str = "/pause";

/// Where the program lies in memory.
const ADDRESS: u64 = 0x40_0000;
/// Sizes of the two headers of an ELF file with one segment.
const ELF_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
/// Size of a tar header and of what contents are padded to.
const TAR_BLOCK: usize = 512;

/// `mov eax, 34; syscall; jmp -9`: `pause(2)` again and again.
const X86_64: &[u8] = &[0xB8, 0x22, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7];
/// `mov x0..x3, #0; mov x8, #73; svc #0; b -20`: `ppoll(2)` of nothing, without a limit.
const AARCH64: &[u8] = &[
    0x00, 0x00, 0x80, 0xD2, 0x01, 0x00, 0x80, 0xD2, 0x02, 0x00, 0x80, 0xD2, 0x03, 0x00, 0x80, 0xD2,
    0x28, 0x09, 0x80, 0xD2, 0x01, 0x00, 0x00, 0xD4, 0xFA, 0xFF, 0xFF, 0x17,
];

/// The tar archive of the image's file system, for the kernel's name of an architecture.
///
/// # Errors
/// An architecture that there is no program for.
pub(crate) fn archive(architecture: &str) -> Result<Vec<u8>, String> {
    let program = match architecture {
        "x86_64" | "amd64" => program(62, X86_64),
        "aarch64" | "arm64" => program(183, AARCH64),
        other => return Err(format!("task networks are not available on {other}")),
    };
    Ok(tar(PROGRAM.trim_start_matches('/'), &program))
}

/// An ELF file with one segment.
fn program(machine: u16, code: &[u8]) -> Vec<u8> {
    let headers = u64::from(ELF_HEADER + PROGRAM_HEADER);
    let size = headers + code.len() as u64;
    let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0];
    file.resize(16, 0);
    // Executable, machine, version.
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((ADDRESS + headers).to_le_bytes());
    // Program headers follow this one; there are no section headers.
    file.extend(u64::from(ELF_HEADER).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for half in [ELF_HEADER, PROGRAM_HEADER, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // A segment to load, readable and executable.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for word in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// An archive with one executable file.
pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; TAR_BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header;
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(TAR_BLOCK), 0);
    // Two empty blocks end an archive.
    archive.resize(archive.len() + 2 * TAR_BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_one_elf_file() {
        for architecture in ["x86_64", "aarch64"] {
            let archive = archive(architecture).expect("a program");
            assert_eq!(archive.len() % TAR_BLOCK, 0);
            assert!(archive.starts_with(b"pause\0"));
            assert_eq!(&archive[TAR_BLOCK..TAR_BLOCK + 4], b"\x7FELF");
        }
        assert!(archive("sparc").is_err());
    }

    #[test]
    fn the_program_starts_after_its_headers() {
        let file = program(62, X86_64);
        assert_eq!(file.len(), 120 + X86_64.len());
        let entry = u64::from_le_bytes(file[24..32].try_into().expect("eight bytes"));
        assert_eq!(entry, ADDRESS + 120);
        assert_eq!(&file[120..], X86_64);
    }
}
