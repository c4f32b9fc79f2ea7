//! The export. All types are generated from the contract in `wit/`.

pub use bindings::exports::yoi::resolver::resolve::{Failure, Origin, Request, Resolution};
pub use bindings::yoi::resolver::bundle::{Amend, Condition, Kind, Layer, Profile};
pub use bindings::yoi::resolver::types::{Access, Authority, Facts, Need, Wish};

use crate::Bundle;
use bindings::exports::yoi::resolver::resolve::Guest;
use bindings::yoi::resolver::bundle::Handle;

mod bindings {
    wit_bindgen::generate!({
        path: "wit",
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
    // A panic would end the call as a trap without a message: nothing here indexes, unwraps or recurses without a bound.
    fn resolve(request: Request, bundle: Handle, facts: Facts) -> Result<Resolution, Failure> {
        crate::resolve(&request, &bundle, &facts)
    }
}

// A component exports the function. A native build, for the tests, exports nothing.
#[cfg(target_arch = "wasm32")]
mod export {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
