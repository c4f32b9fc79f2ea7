//! The exported interface `tools`.
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated")]

use exports::yoi::plugin::tools::{Guest, Invocation, ToolFailure};
use yoi::host::request::send;

use crate::exchange;

wit_bindgen::generate!({ path: "../../../../../wit", world: "tool", generate_all });

struct WebFetch;

export!(WebFetch);

impl Guest for WebFetch {
    fn call(invocation: Invocation) -> Result<String, ToolFailure> {
        let request = exchange::request(&invocation)?;
        send(&request).map(exchange::output).map_err(exchange::failure)
    }
}
