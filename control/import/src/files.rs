//! Files beside the one that is read: those it includes, and `/etc/services`.

use std::path::{Path, PathBuf};

/// Largest file that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where other files are.
pub trait Files {
    /// The files that `pattern` names, seen from the directory of `from`, with their texts, in the
    /// order of their names.
    fn named(&self, pattern: &str, from: &Path) -> Vec<(PathBuf, String)>;

    /// The text of `/etc/services`.
    fn services(&self) -> String;
}

/// There are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn named(&self, _: &str, _: &Path) -> Vec<(PathBuf, String)> {
        Vec::new()
    }

    fn services(&self) -> String {
        String::new()
    }
}

/// Those of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnDisk;

impl Files for OnDisk {
    fn named(&self, pattern: &str, from: &Path) -> Vec<(PathBuf, String)> {
        let pattern = from.parent().unwrap_or(Path::new("")).join(pattern);
        let Some(pattern) = pattern.to_str() else {
            return Vec::new();
        };
        let Ok(paths) = glob::glob(pattern) else {
            return Vec::new();
        };
        let files = paths.flatten().filter(|path| path.is_file());
        files
            .filter_map(|path| read(&path).map(|text| (path, text)))
            .collect()
    }

    fn services(&self) -> String {
        read(Path::new("/etc/services")).unwrap_or_default()
    }
}

/// The text of a file; bytes that are no UTF-8 are replaced.
fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.len() > BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
