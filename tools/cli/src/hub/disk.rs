//! How much room there is.

use std::path::Path;

/// Bytes that we may still write where `dir` is or will be; `None` where the system does not say.
pub(crate) fn free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    free_at(there)
}

#[cfg(unix)]
fn free_at(dir: &Path) -> Option<u64> {
    use std::ffi::CString;
    use std::mem::MaybeUninit;
    use std::os::unix::ffi::OsStrExt;

    let path = CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero, and the pointer leads to room for one structure.
    let status = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: zero is a value of each of its fields, and the call has set them.
    let found = unsafe { found.assume_init() };
    // The types of the fields differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "they are u64 on some systems")]
    let (blocks, size) = (found.f_bavail as u64, found.f_frsize as u64);
    blocks.checked_mul(size)
}

#[cfg(windows)]
fn free_at(dir: &Path) -> Option<u64> {
    use std::os::windows::ffi::OsStrExt;
    use std::ptr::null_mut;
    use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;

    let path: Vec<u16> = dir.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0u64;
    // SAFETY: the path ends with a zero, `free` is a number that may be written, and the others are not asked for.
    let done = unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &mut free, null_mut(), null_mut()) };
    (done != 0).then_some(free)
}

#[cfg(not(any(unix, windows)))]
fn free_at(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(any(unix, windows))]
    fn there_is_some_room_also_where_no_folder_is_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert!(super::free(&dir.path().join("a/b")).is_some_and(|free| free > 0));
    }
}
