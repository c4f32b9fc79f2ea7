//! Detection of swap, which decides whether instances may keep resident pages.

/// `true` if memory of this process is never written to swap: the machine has no swap, or the control
/// group forbids it.
///
/// Reads `/proc` and `/sys` on Linux. Returns `false` on other systems and if reading fails.
pub fn memory_is_never_swapped() -> bool {
    let no_swap = || {
        // The first line is the table header.
        std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().skip(1).all(|line| line.trim().is_empty()))
    };
    let forbidden = || {
        let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = group.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
        let max = std::fs::read_to_string(format!("/sys/fs/cgroup/{path}/memory.swap.max")).ok()?;
        Some(max.trim() == "0")
    };
    cfg!(target_os = "linux") && (no_swap() || forbidden().unwrap_or(false))
}
