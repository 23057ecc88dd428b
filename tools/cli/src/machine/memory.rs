//! How much memory there is, and how much of it a program may still take.

/// Memory in bytes, where the system says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) total: Option<u64>,
    /// What is free, or held by files that can be read again; no more than the control group allows.
    pub(crate) available: Option<u64>,
}

/// Total and available memory.
pub(crate) fn memory() -> Memory {
    system()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn system() -> Memory {
    groups::within_groups(
        meminfo(&read("/proc/meminfo")),
        &read("/proc/self/cgroup"),
        std::path::Path::new("/sys/fs/cgroup"),
    )
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What /proc/meminfo says.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn meminfo(text: &str) -> Memory {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Memory { total: field("MemTotal"), available: field("MemAvailable") }
}

/// Limits that a container or a service has.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod groups {
    use std::path::Path;

    use super::Memory;

    /// How a version of control groups says it.
    struct Words {
        limits: &'static [&'static str],
        used: &'static str,
        /// Of what is used, the files that can be read again: keys of `memory.stat`.
        files: [&'static str; 2],
    }

    const VERSION_2: Words = Words {
        limits: &["memory.max", "memory.high"],
        used: "memory.current",
        files: ["inactive_file", "active_file"],
    };
    const VERSION_1: Words = Words {
        limits: &["memory.limit_in_bytes"],
        used: "memory.usage_in_bytes",
        files: ["total_inactive_file", "total_active_file"],
    };

    /// `memory` with the limits of the groups that /proc/self/cgroup names, and of those that these are in. `root` is
    /// where the groups are mounted.
    pub(super) fn within_groups(mut memory: Memory, own: &str, root: &Path) -> Memory {
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (root, words) = match controllers {
                "" => (root.to_path_buf(), VERSION_2),
                _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), VERSION_1),
                _ => continue,
            };
            // In a container the path may be that outside of it: then the mount itself is the group.
            let path = path.trim_start_matches('/');
            let inside = !path.split('/').any(|part| part == "..");
            let below = Path::new(if inside { path } else { "" });
            for group in below.ancestors() {
                if let Some((limit, available)) = group_of(&root.join(group), &words) {
                    memory = within(memory, limit, available);
                }
            }
        }
        memory
    }

    /// No more than `limit` in all and `available` of it.
    fn within(memory: Memory, limit: u64, available: u64) -> Memory {
        let least = |a: Option<u64>, b: u64| Some(a.map_or(b, |a| a.min(b)));
        match memory.total {
            // The largest number stands for no limit.
            Some(total) if limit >= total => memory,
            _ => Memory { total: least(memory.total, limit), available: least(memory.available, available) },
        }
    }

    /// The limit of a group and what it may still take; none without a limit.
    fn group_of(dir: &Path, words: &Words) -> Option<(u64, u64)> {
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        let number = |name: &&str| text(name)?.trim().parse::<u64>().ok();
        let limit = words.limits.iter().filter_map(number).min()?;
        let used = number(&words.used)?;
        let stat = text("memory.stat").unwrap_or_default();
        let files = stat.lines().filter_map(|line| line.split_once(' '));
        let files = files.filter(|(key, _)| words.files.contains(key));
        let files =
            files.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).fold(0, u64::saturating_add);
        Some((limit, limit.saturating_sub(used.saturating_sub(files))))
    }
}

#[cfg(windows)]
fn system() -> Memory {
    use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
    let mut status =
        MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: the pointer is to a structure of the length that it says.
    let done = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    match done {
        0 => Memory::default(),
        // What all programs together may still take counts, too: the paging file may be full.
        _ => Memory {
            total: Some(status.ullTotalPhys),
            available: Some(status.ullAvailPhys.min(status.ullAvailPageFile)),
        },
    }
}

#[cfg(target_vendor = "apple")]
fn system() -> Memory {
    let size = number(c"hw.pagesize");
    // Free, and of files that can be read again.
    let available = [c"vm.page_free_count", c"vm.page_pageable_external_count", c"vm.page_purgeable_count"];
    let available = available.into_iter().try_fold(0u64, |sum, name| number(name)?.checked_add(sum));
    let total = number(c"hw.memsize");
    Memory { total, available: size.zip(available).and_then(|(size, pages)| size.checked_mul(pages)) }
}

/// A number of the kernel's, of four or eight bytes.
#[cfg(target_vendor = "apple")]
fn number(name: &std::ffi::CStr) -> Option<u64> {
    let mut value = [0u8; 8];
    let mut len = value.len();
    // SAFETY: the name ends with a zero, and at most `len` bytes of `value` are written.
    let done = unsafe {
        libc::sysctlbyname(name.as_ptr(), value.as_mut_ptr().cast(), &raw mut len, std::ptr::null_mut(), 0)
    };
    match (done, len) {
        (0, 4) => Some(u64::from(u32::from_ne_bytes([value[0], value[1], value[2], value[3]]))),
        (0, 8) => Some(u64::from_ne_bytes(value)),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", windows, target_vendor = "apple")))]
fn system() -> Memory {
    Memory::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_has_memory() {
        let Memory { total, available } = memory();
        if cfg!(any(target_os = "linux", windows)) {
            assert!(
                total > Some(64 << 20) && available > Some(0) && available <= total,
                "{total:?} {available:?}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn control_groups_limit_what_is_available() {
        let plain = meminfo("MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n");
        assert_eq!(plain, Memory { total: Some(16 << 30), available: Some(8 << 30) });
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let found = |own: &str| groups::within_groups(plain, own, dir.path());
        assert_eq!(found("0::/a/b\n"), plain, "without files");

        // The group itself has no limit, but the one that it is in; files are no use that counts.
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "1\n");
        write("a/memory.max", "4294967296\n");
        write("a/memory.high", "3221225472\n");
        write("a/memory.current", "2147483648\n");
        write("a/memory.stat", "anon 5\ninactive_file 1073741824\nactive_file 536870912\nshmem 7\n");
        let limited = Memory { total: Some(3 << 30), available: Some((5 << 30) / 2) };
        assert_eq!(found("0::/a/b\n"), limited);
        assert_eq!(found("0::/a/b/gone\n"), limited, "a path that is not mounted here");
        assert_eq!(found("0::/../../a\n"), plain, "a path outside of what is mounted here");

        // The older version, whose number for no limit is larger than any memory.
        write("memory/x/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/x/memory.usage_in_bytes", "12\n");
        assert_eq!(found("4:memory:/x\n3:cpu,cpuacct:/x\n"), plain);
        write("memory/x/memory.limit_in_bytes", "1073741824\n");
        write("memory/x/memory.stat", "total_inactive_file 2\ntotal_active_file 0\n");
        let limited = Memory { total: Some(1 << 30), available: Some((1 << 30) - 10) };
        assert_eq!(found("5:cpu:/\n4:hugetlb,memory:/x\nnonsense\n"), limited);
        // More is used than there may be.
        write("memory/x/memory.usage_in_bytes", "2147483648\n");
        assert_eq!(found("4:memory:/x\n").available, Some(0));
    }
}
