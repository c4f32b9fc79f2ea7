//! Scanner for credentials and for paths, sockets and addresses of one host.
//!
//! ```
//! use leak_scan::{Kind, Place, scan};
//!
//! assert!(scan(Place::Text, "secret:github-token").is_empty());
//! let found = scan(Place::Text, "mount=/home/alice/repo");
//! assert_eq!(found[0].rule.kind(), Kind::HostPath);
//! assert_eq!(found[0].span, 6..22);
//! ```
//!
//! The result depends on the text and its [`Place`] only, not on the operating system, the environment or the clock.
//! A scan takes time linear in the length of the text. A finding names a rule and a span and never copies the value, so
//! printing a finding cannot leak it. There is no general entropy rule, because digests, ids and commits are random too.
//!
//! Start at `scan`, then read `pass`, which calls each rule at the characters and words where the rule can begin.

mod ascii;
mod assignments;
mod boundaries;
mod confusables;
mod credentials;
mod decoded;
mod endpoints;
mod entries;
mod escapes;
mod findings;
mod home_paths;
mod host_paths;
mod locality;
mod markup;
mod named_values;
mod pass;
mod posix_paths;
mod providers;
mod randomness;
mod rule;
mod scan;
mod secret_names;
mod structured;
mod tables;
mod tokens;
mod views;
mod windows;
mod windows_paths;
mod words;

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod marked_up;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod refused_paths;
#[cfg(test)]
mod samples;

pub use entries::KeyContext;
pub use findings::{Leak, MAX_FINDINGS};
pub use named_values::named_values;
pub use rule::{Kind, LeakRule, rule, rules};
pub use scan::{Place, scan, scan_with_pauses};
