//! Adapters between the code generated from the contract and the logic.
//!
//! All types are generated, because the contract is stated once, in `wit/`. The functions exist only in a component. In a
//! native build, the imports are stubs that are never called, and nothing is exported.

pub use bindings::exports::yoi::resolver::resolve::{Failure, Origin, Request, Resolution};
pub use bindings::yoi::resolver::bundle::{Amend, Condition, Kind, Layer, Profile};
pub use bindings::yoi::resolver::types::{Access, Authority, Facts, Need, Wish};

use alloc::string::String;
use alloc::vec::Vec;

use crate::Bundle;
use bindings::exports::yoi::resolver::resolve::Guest;
use bindings::yoi::resolver::bundle::Handle;

#[allow(unsafe_code, missing_docs, unreachable_pub, rust_2018_idioms, clippy::all)] // generated
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "yoi:runtime/resolver",
        generate_all,
        additional_derives: [Clone, PartialEq, Eq, PartialOrd, Ord],
    });
}

impl Bundle for Handle {
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
        Handle::profiles(self, names)
    }

    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool> {
        Handle::declares(self, kind, names)
    }
}

struct Component;

impl Guest for Component {
    fn resolve(request: Request, bundle: Handle, facts: Facts) -> Result<Resolution, Failure> {
        crate::resolve(&request, &bundle, &facts)
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)] // generated: exported symbols
mod export {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
