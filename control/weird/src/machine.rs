//! What the machine has: looked up here, judged by `weir_model`.

use std::path::PathBuf;

use weir_model::{ConfigFile, MachineFacts};

/// What `file` may need and this machine has. What cannot be found out is taken to be there.
pub(crate) fn facts(file: &ConfigFile) -> MachineFacts {
    let is_missing = |path: &PathBuf| matches!(path.try_exists(), Ok(false));
    let paths = file.paths_needed().into_iter();
    MachineFacts {
        cores: cores().unwrap_or_else(|| file.config.workers.cores.clone()),
        huge_pages_mb: huge_pages_mb().unwrap_or(u64::MAX),
        memory_mb: memory_mb().unwrap_or(u64::MAX),
        paths_missing: paths.filter(is_missing).collect(),
    }
}

/// Cores that this process may run on.
fn cores() -> Option<Vec<u16>> {
    let cores = core_affinity::get_core_ids()?.into_iter();
    Some(
        cores
            .filter_map(|core| u16::try_from(core.id).ok())
            .collect(),
    )
}

/// Reserved huge pages of all sizes: `/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`.
fn huge_pages_mb() -> Option<u64> {
    let sizes = std::fs::read_dir("/sys/kernel/mm/hugepages").ok()?;
    let of_size = |size: std::fs::DirEntry| {
        let name = size.file_name();
        let kb = name
            .to_str()?
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?;
        let pages = std::fs::read_to_string(size.path().join("nr_hugepages")).ok()?;
        Some(kb.parse::<u64>().ok()? * pages.trim().parse::<u64>().ok()?)
    };
    let kb: u64 = sizes.flatten().filter_map(of_size).sum();
    Some(kb / 1024)
}

/// `MemTotal: 16384 kB`.
fn memory_mb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kb: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb / 1024)
}
