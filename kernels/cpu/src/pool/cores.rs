//! How many threads are worth starting.
//!
//! A thread on an efficiency core, or on the second hardware thread of a core that is busy already, adds little
//! to kernels that keep the vector units or the memory busy, and costs battery. So the default is one thread per
//! performance core that we may use.

use std::num::NonZero;

/// Threads to start by default: the performance cores in this process's affinity mask, and no more than its
/// control group's quota allows.
pub fn usable_cores() -> usize {
    let allowed = allowed_cpus();
    system::performance_cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

/// Logical processors in the affinity mask, as far as the control group's quota goes.
pub(super) fn allowed_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// From the files of the kernel. A core is a performance core if it has at least half the capacity of the
/// strongest one, and is not listed as an Intel efficiency core.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::collections::BTreeSet;
    use std::path::Path;

    pub(super) fn performance_cores() -> Option<usize> {
        count(Path::new("/"))
    }

    /// As if `root` were the root directory.
    fn count(root: &Path) -> Option<usize> {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        let status = read("proc/self/status")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let efficient = read("sys/devices/cpu_atom/cpus").and_then(|list| cpus(&list)).unwrap_or_default();
        let mut strongest = 0;
        let mut cores = Vec::new();
        for cpu in cpus(allowed)?.difference(&efficient) {
            let about = format!("sys/devices/system/cpu/cpu{cpu}");
            let capacity: u64 =
                read(&format!("{about}/cpu_capacity")).and_then(|c| c.trim().parse().ok()).unwrap_or(1024);
            // The first hardware thread stands for its core.
            let core = read(&format!("{about}/topology/thread_siblings_list"))
                .and_then(|list| cpus(&list)?.first().copied())
                .unwrap_or(*cpu);
            strongest = strongest.max(capacity);
            cores.push((core, capacity));
        }
        let cores: BTreeSet<usize> = cores
            .into_iter()
            .filter(|(_, capacity)| capacity * 2 >= strongest)
            .map(|(core, _)| core)
            .collect();
        (!cores.is_empty()).then_some(cores.len())
    }

    /// The kernel's lists: `0-3,8,10-11`.
    fn cpus(list: &str) -> Option<BTreeSet<usize>> {
        const MOST: usize = 1 << 16;
        let mut all = BTreeSet::new();
        for part in list.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let last: usize = last.parse().ok()?;
            all.extend(first.parse().ok()?..=last.min(MOST));
        }
        Some(all)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A machine as the kernel would describe it.
        fn machine(allowed: &str, cpus: &[(usize, &str, Option<u32>)], atom: Option<&str>) -> Option<usize> {
            let root = tempfile::tempdir().unwrap();
            let write = |path: &str, text: &str| {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            };
            write("proc/self/status", &format!("Name:\tx\nCpus_allowed_list:\t{allowed}\nMems:\t0\n"));
            if let Some(atom) = atom {
                write("sys/devices/cpu_atom/cpus", &format!("{atom}\n"));
            }
            for (cpu, siblings, capacity) in cpus {
                let about = format!("sys/devices/system/cpu/cpu{cpu}");
                write(&format!("{about}/topology/thread_siblings_list"), &format!("{siblings}\n"));
                if let Some(capacity) = capacity {
                    write(&format!("{about}/cpu_capacity"), &format!("{capacity}\n"));
                }
            }
            count(root.path())
        }

        #[test]
        fn hardware_threads_share_a_core() {
            let two = [(0, "0-1", None), (1, "0-1", None), (2, "2,3", None), (3, "2,3", None)];
            assert_eq!(machine("0-3", &two, None), Some(2));
            assert_eq!(machine("1-2", &two, None), Some(2));
            assert_eq!(machine("0-1", &two, None), Some(1));
        }

        #[test]
        fn efficiency_cores_are_left_out() {
            let phone = [
                (0, "0", Some(325)),
                (1, "1", Some(325)),
                (2, "2", Some(880)),
                (3, "3", Some(880)),
                (4, "4", Some(1024)),
            ];
            assert_eq!(machine("0-4", &phone, None), Some(3));
            // Confined to the small ones, those are what there is.
            assert_eq!(machine("0-1", &phone, None), Some(2));
            let laptop = [(0, "0-1", None), (1, "0-1", None), (2, "2", None), (3, "3", None)];
            assert_eq!(machine("0-3", &laptop, Some("2-3")), Some(1));
            assert_eq!(machine("2-3", &laptop, Some("2-3")), None);
        }

        #[test]
        fn odd_lists_are_no_trouble() {
            assert_eq!(cpus("0-3,8,10-11\n"), Some([0, 1, 2, 3, 8, 10, 11].into()));
            assert_eq!(cpus(""), Some(BTreeSet::new()));
            assert_eq!(cpus("5-2"), Some(BTreeSet::new()));
            assert_eq!(cpus("a-b"), None);
            assert!(cpus("0-18446744073709551615").is_some());
        }
    }
}

/// From the system's own count of the fastest kind of core.
#[cfg(target_vendor = "apple")]
mod system {
    pub(super) fn performance_cores() -> Option<usize> {
        let mut cores: libc::c_int = 0;
        let mut size = size_of_val(&cores);
        // SAFETY: the name ends with 0, and `size` is how many bytes may be written to `cores`.
        let status = unsafe {
            libc::sysctlbyname(
                c"hw.perflevel0.physicalcpu".as_ptr(),
                (&raw mut cores).cast(),
                &mut size,
                std::ptr::null_mut(),
                0,
            )
        };
        (status == 0).then(|| usize::try_from(cores).ok()).flatten().filter(|&cores| cores > 0)
    }
}

/// From the efficiency classes of the processor cores; a higher class is a faster core.
#[cfg(windows)]
mod system {
    use windows_sys::Win32::System::SystemInformation::{
        GetLogicalProcessorInformationEx, RelationProcessorCore,
    };

    pub(super) fn performance_cores() -> Option<usize> {
        let mut bytes = 0;
        // SAFETY: without a buffer only the size is written.
        unsafe {
            GetLogicalProcessorInformationEx(RelationProcessorCore, std::ptr::null_mut(), &mut bytes);
        }
        let mut records = vec![0u64; (bytes as usize).div_ceil(8)];
        // SAFETY: the buffer has at least `bytes` bytes, aligned for the records.
        let done = unsafe {
            GetLogicalProcessorInformationEx(RelationProcessorCore, records.as_mut_ptr().cast(), &mut bytes)
        };
        (done != 0).then(|| fastest(bytemuck::cast_slice(&records))).filter(|&cores| cores > 0)
    }

    /// Records begin with their relation and size, 4 bytes each, then come flags and the class, a byte each.
    fn fastest(mut records: &[u8]) -> usize {
        let (mut best, mut count) = (0, 0);
        while let [_, _, _, _, a, b, c, d, _, class, ..] = *records {
            let size = u32::from_le_bytes([a, b, c, d]) as usize;
            match class.cmp(&best) {
                _ if size < 10 => break,
                std::cmp::Ordering::Greater => (best, count) = (class, 1),
                std::cmp::Ordering::Equal => count += 1,
                std::cmp::Ordering::Less => {}
            }
            records = records.get(size..).unwrap_or_default();
        }
        count
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
mod system {
    pub(super) fn performance_cores() -> Option<usize> {
        None
    }
}
