//! Faults of the disk: failing calls, killed processes, power cuts and changed bytes. Everything that was acknowledged
//! survives them.

mod faults;
mod flips;
mod kills;
mod log_cuts;
mod power_cuts;
mod recording;
mod same_work;
pub(crate) mod watched;
mod workload;
mod written;
mod written_cuts;
mod written_faults;
