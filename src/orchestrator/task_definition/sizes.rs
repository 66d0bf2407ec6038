//! CPU units and memory of tasks: the ways to write them, and the sizes of Fargate.

use crate::model::TaskDefinitionDocument;
use crate::task_definition::error::Checked;
use crate::task_definition::error::{InvalidTaskDefinition, refuse};

/// CPU units of one vCPU.
const UNITS_OF_VCPU: u32 = 1024;
const MIB_OF_GIB: u32 = 1024;
/// CPU units that a task may have outside of Fargate: 0.125 to 192 vCPUs. Source:
/// `RegisterTaskDefinition`, `cpu`.
const CPU_UNITS: std::ops::RangeInclusive<u32> = 128..=196_608;
/// Least memory of a container or task in MiB.
pub(crate) const MIN_MEMORY_MIB: u32 = 4;
/// Most memory of a task in MiB: that of the largest instance type, 32 TiB.
const MAX_MEMORY_MIB: u32 = 33_554_432;

/// Writes the sizes of a task as plain numbers.
pub(super) fn normalise(document: &mut TaskDefinitionDocument) -> Checked {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    document.cpu = given(&document.cpu)
        .map(|text| cpu_units(&text).map(|units| units.to_string()))
        .transpose()?;
    document.memory = given(&document.memory)
        .map(|text| memory_mib(&text).map(|mib| mib.to_string()))
        .transpose()?;
    Ok(())
}

/// CPU units of `256`, `1 vCPU` or `.25 vcpu`.
pub(super) fn cpu_units(text: &str) -> Result<u32, InvalidTaskDefinition> {
    let units = number(text, "vcpu", UNITS_OF_VCPU);
    units
        .filter(|units| CPU_UNITS.contains(units))
        .ok_or_else(|| refuse("Invalid 'cpu' setting for task."))
}

/// MiB of `512`, `1GB` or `0.5 gb`.
pub(super) fn memory_mib(text: &str) -> Result<u32, InvalidTaskDefinition> {
    let mib = number(text, "gb", MIB_OF_GIB);
    mib.filter(|mib| (MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(mib))
        .ok_or_else(|| refuse("Invalid 'memory' setting for task."))
}

/// An integer, or a decimal number of a unit that stands for `factor`. A part of one is `None`.
fn number(text: &str, unit: &str, factor: u32) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let Some(text) = text.strip_suffix(unit) else {
        return digits(&text);
    };
    let (whole, fraction) = text
        .trim_end()
        .split_once('.')
        .unwrap_or((text.trim_end(), "0"));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { digits(whole)? };
    let fraction = fraction.trim_end_matches('0');
    // More decimals than a 1,024th has make a part of one.
    if fraction.len() > 10 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scale = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = parts * u64::from(factor);
    if !parts.is_multiple_of(scale) {
        return None;
    }
    let parts = u32::try_from(parts / scale).ok()?;
    whole.checked_mul(factor)?.checked_add(parts)
}

fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Whether Fargate has tasks of this size. Source: ECS developer guide, "Task size".
pub(super) fn is_fargate_size(cpu: u32, memory_mib: u32) -> bool {
    let gib = |from: u32, to: u32, step: u32| {
        let (from, to, step) = (from * MIB_OF_GIB, to * MIB_OF_GIB, step * MIB_OF_GIB);
        (from..=to).contains(&memory_mib) && (memory_mib - from).is_multiple_of(step)
    };
    match cpu {
        256 => matches!(memory_mib, 512 | 1024 | 2048),
        512 => gib(1, 4, 1),
        1024 => gib(2, 8, 1),
        2048 => gib(4, 16, 1),
        4096 => gib(8, 30, 1),
        8192 => gib(16, 60, 4),
        16_384 => gib(32, 120, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_written_in_units_or_vcpus() {
        let cases = [
            ("256", 256),
            (" 1024 ", 1024),
            ("1 vCPU", 1024),
            ("1vcpu", 1024),
            (".25 vCPU", 256),
            ("0.5 VCPU", 512),
            ("2. vCPU", 2048),
            ("16.000 vCPU", 16_384),
        ];
        for (text, units) in cases {
            assert_eq!(cpu_units(text), Ok(units), "{text}");
        }
    }

    #[test]
    fn memory_is_written_in_mib_or_gb() {
        let cases = [
            ("512", 512),
            ("0.5GB", 512),
            ("2 GB", 2048),
            ("1.5gb", 1536),
        ];
        for (text, mib) in cases {
            assert_eq!(memory_mib(text), Ok(mib), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_sizes() {
        let refused = refuse("Invalid 'cpu' setting for task.");
        for text in [
            "",
            "0",
            "-1",
            "12 8",
            "127",
            "196609",
            "vCPU",
            ".vCPU",
            "1 GB",
            "0.0001 vCPU",
            "1e3",
            "99999999999",
            "4194304 vCPU",
            "0x10",
            "+256",
            "١",
        ] {
            assert_eq!(cpu_units(text), Err(refused.clone()), "{text}");
        }
        let refused = refuse("Invalid 'memory' setting for task.");
        for text in [
            "",
            "0",
            "1",
            "1 vCPU",
            "1 TB",
            "GB",
            "0.3333 GB",
            "40000 GB",
        ] {
            assert_eq!(memory_mib(text), Err(refused.clone()), "{text}");
        }
    }

    #[test]
    fn fargate_has_the_sizes_of_the_table() {
        let has = [
            (256, 512),
            (256, 2048),
            (512, 1024),
            (512, 4096),
            (1024, 2048),
            (1024, 8192),
            (2048, 16_384),
            (4096, 30_720),
            (8192, 16_384),
            (8192, 61_440),
            (16_384, 122_880),
        ];
        for (cpu, memory) in has {
            assert!(is_fargate_size(cpu, memory), "{cpu} {memory}");
        }
        let has_not = [
            (256, 1536),
            (256, 4096),
            (512, 512),
            (1024, 1024),
            (1024, 2049),
            (1024, 9216),
            (4096, 31_744),
            (8192, 18_432),
            (16_384, 36_864),
            (128, 512),
            (768, 2048),
        ];
        for (cpu, memory) in has_not {
            assert!(!is_fargate_size(cpu, memory), "{cpu} {memory}");
        }
    }
}
