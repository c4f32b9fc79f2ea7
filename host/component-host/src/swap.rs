//! Whether this machine could swap a page out, which decides how instances may keep theirs.

/// Whether memory of this process is never written to swap: there is none, or the control group
/// forbids it. `false` where that cannot be found out.
///
/// Reads what Linux says of itself under `/proc` and `/sys`; elsewhere the answer is `false`.
pub fn memory_is_never_swapped() -> bool {
    let no_swap = || {
        // The first line is a heading.
        std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().skip(1).all(|line| line.trim().is_empty()))
    };
    let forbidden = || {
        let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = group.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
        let most = std::fs::read_to_string(format!("/sys/fs/cgroup/{path}/memory.swap.max")).ok()?;
        Some(most.trim() == "0")
    };
    cfg!(target_os = "linux") && (no_swap() || forbidden().unwrap_or(false))
}
