//! A profile resolver: resolves a profile of a bundle for the facts of a host.
//!
//! `resolve` is a pure function over a [`Bundle`], so its tests run without a component. Start there. It loads the profile with
//! its ancestors (`ancestry`, `c3`), applies the layers that count (`layers`), and checks the names of the result.

extern crate alloc;

mod ancestry;
mod bundle;
mod c3;
mod glue;
mod json;
mod layers;
mod names;
mod origins;
mod resolve;
mod settings;
mod wishes;

pub use bundle::Bundle;
pub use glue::{
    Access, Amend, Authority, Condition, Facts, Failure, Kind, Layer, Need, Origin, Profile, Request, Resolution, Wish,
};
pub use resolve::resolve;
