//! The limits that the operating system sets for this process: file descriptors and memory.
//!
//! On Linux they are read from `/proc` and from the control groups (cgroups) of the process. On other systems, and if
//! they cannot be read, defaults are used.

/// File descriptors that are kept for other things than connections: listeners, logs, files of the application.
const RESERVED_DESCRIPTORS: usize = 64;

/// The number of file descriptors that is assumed if the limit cannot be read: on Unix the default of macOS. Windows has
/// no such limit for sockets.
const DEFAULT_DESCRIPTORS: usize = match () {
    () if cfg!(target_os = "linux") => 1024,
    () if cfg!(unix) => 256,
    () => 16 * 1024,
};

/// The memory limit in bytes that is used if none can be read.
pub(crate) const DEFAULT_MEMORY: usize = 512 << 20;

/// Returns how many connections the file descriptor limit allows, less 64 for everything else.
pub(crate) fn max_connections() -> usize {
    let soft = limits_file().and_then(|limits| limit_of(&limits, "Max open files"));
    let soft = soft.unwrap_or(DEFAULT_DESCRIPTORS);
    soft.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, (1 << 24) - 1)
}

/// Returns how many bytes of memory all connections may hold together: a quarter of the smallest limit that applies to
/// this process.
pub(crate) fn max_memory() -> usize {
    smallest_memory_limit().map_or(DEFAULT_MEMORY, |limit| limit / 4).max(1 << 20)
}

/// Returns the soft limit in a line of `/proc/self/limits`; `None` for "unlimited".
fn limit_of(limits: &str, name: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(target_os = "linux")]
fn limits_file() -> Option<String> {
    std::fs::read_to_string("/proc/self/limits").ok()
}

#[cfg(not(target_os = "linux"))]
fn limits_file() -> Option<String> {
    None
}

#[cfg(not(target_os = "linux"))]
fn smallest_memory_limit() -> Option<usize> {
    None
}

#[cfg(target_os = "linux")]
fn smallest_memory_limit() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let in_groups = group_limit_files(&groups);
    let from_groups = in_groups.iter().filter_map(|path| read(path)?.trim().parse::<usize>().ok());
    let limits = limits_file().unwrap_or_default();
    let from_limits = ["Max address space", "Max data size"].map(|name| limit_of(&limits, name));
    let physical = read("/proc/meminfo").and_then(|text| physical_memory(&text));
    from_groups.chain(from_limits.into_iter().flatten()).chain(physical).min()
}

/// Returns the files that may limit the memory of a process, from the content of its `/proc/self/cgroup`: those of its
/// group and of every ancestor, because each of them applies.
#[cfg(any(target_os = "linux", test))]
fn group_limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // Version 2 of control groups has an empty list of controllers.
        let (root, names): (&str, &[&str]) = if controllers.is_empty() {
            ("/sys/fs/cgroup", &["memory.max", "memory.high"])
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
        } else {
            continue;
        };
        let mut group = path.trim_end_matches('/');
        loop {
            files.extend(names.iter().map(|name| format!("{root}{group}/{name}")));
            let Some((parent, _)) = group.rsplit_once('/') else { break };
            group = parent;
        }
    }
    files
}

/// Returns the physical memory in bytes, from the content of `/proc/meminfo`.
#[cfg(any(target_os = "linux", test))]
fn physical_memory(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_limits_of_a_group_and_of_its_ancestors() {
        assert_eq!(
            group_limit_files("0::/a/b\n"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/b/memory.high",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/a/memory.high",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.high",
            ]
        );
        let version_1 = group_limit_files("3:cpu:/x\n5:rdma,memory:/x\n");
        let root = "/sys/fs/cgroup/memory";
        let name = "memory.limit_in_bytes";
        assert_eq!(version_1, [format!("{root}/x/{name}"), format!("{root}/{name}")]);
        assert!(group_limit_files("no group\n").is_empty());
    }

    #[test]
    fn parses_limits() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax data size   unlimited unlimited bytes\n\
                      Max open files   1024   4096   files\n";
        assert_eq!(limit_of(limits, "Max open files"), Some(1024));
        assert_eq!(limit_of(limits, "Max data size"), None);
        assert_eq!(physical_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
        assert!(max_connections() >= 1 && max_memory() >= 1 << 20);
    }
}
