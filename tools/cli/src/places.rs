//! Folders that are ours on the user's computer, and files in them that are written whole or not at all.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What can be made again: compiled GPU kernels, the decisions of `--device auto`, what sessions had read.
/// `QWIP_CACHE_DIR`, else the system's folder for such things; `None` where there is none.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    folder(&variable, ["QWIP_CACHE_DIR", "XDG_CACHE_HOME", ".cache", "Library/Caches"])
}

/// What is the user's: conversations, what was typed, which model was used last. `QWIP_DATA_DIR`, else the system's
/// folder for such things; `None` where there is none.
pub(crate) fn data_dir() -> Option<PathBuf> {
    folder(&variable, ["QWIP_DATA_DIR", "XDG_DATA_HOME", ".local/share", "Library/Application Support"])
}

/// The user's home.
pub(crate) fn home() -> Option<PathBuf> {
    variable(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from)
}

/// A variable of the environment that is set to something.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn folder(
    variable: &dyn Fn(&str) -> Option<OsString>,
    [ours, xdg, below_home, on_macos]: [&str; 4],
) -> Option<PathBuf> {
    if let Some(dir) = variable(ours) {
        return Some(dir.into());
    }
    if cfg!(windows) {
        return Some(PathBuf::from(variable("LOCALAPPDATA")?).join("qwip"));
    }
    let home = || variable("HOME").map(PathBuf::from);
    if cfg!(target_os = "macos") {
        return Some(home()?.join(on_macos).join("qwip"));
    }
    // The specification wants relative paths there to be ignored.
    let xdg = variable(xdg).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(xdg.or_else(|| Some(home()?.join(below_home)))?.join("qwip"))
}

/// Writes a file that nobody else may read, whole or not at all; makes its folder if there is none.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    // Of mode 0600 where there are such modes.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_folder_follows_the_environment() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|&(name, value)| (name, OsString::from(value))).collect();
            let value = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, v)| v.clone());
            folder(&value, ["QWIP_CACHE_DIR", "XDG_CACHE_HOME", ".cache", "Library/Caches"])
        };
        let home = ("HOME", "/home/a");
        assert_eq!(of(&[home]), Some("/home/a/.cache/qwip".into()));
        assert_eq!(of(&[home, ("XDG_CACHE_HOME", "/var/a")]), Some("/var/a/qwip".into()));
        assert_eq!(of(&[home, ("XDG_CACHE_HOME", "relative")]), Some("/home/a/.cache/qwip".into()));
        assert_eq!(of(&[home, ("QWIP_CACHE_DIR", "/q")]), Some("/q".into()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_private_file_is_replaced_whole_and_read_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
