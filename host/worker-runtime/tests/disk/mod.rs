//! What the disk may do to a Runtime: calls that fail, a process that is killed, power that goes, bytes
//! that change. Whatever was acknowledged is there all the same.

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
