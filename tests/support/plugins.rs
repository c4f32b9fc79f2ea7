//! Hostile and honest plugins, one for each kind of attack or fault. All are built from source.

#[path = "../guests/plugins/acts.rs"]
pub mod acts;
#[path = "../guests/plugins/component.rs"]
pub mod component;
#[path = "../guests/plugins/network.rs"]
pub mod network;
#[path = "../guests/plugins/worlds.rs"]
mod worlds;

pub use component::Plugin;

/// A tool plugin with its expected outcome.
pub struct HostilePlugin {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

/// The expected outcome of a plugin that is called with the input `{"a":1}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The output is this JSON text.
    Answers(&'static str),
    /// The plugin reports a failure whose code starts with this text.
    Fails(&'static str),
    /// The component is refused with this code.
    RefusedLoad(&'static str),
    /// The plugin exceeds the limit with this name, while it is loaded or called.
    Limit(&'static str),
    /// The call traps, or returns a value that does not fit the contract's types.
    Trap,
    /// The `output` is not JSON text, or the code of the `failure` is invalid.
    Invalid(&'static str),
}

/// Returns all hostile tool plugins that need no network, and one honest one that is built in the same way.
pub fn all() -> Vec<HostilePlugin> {
    let mut all = Vec::new();
    add(&mut all, "echo", Plugin::tool(), Expect::Answers(r#"{"a":1}"#));
    for group in [
        acts::loops,
        acts::growth,
        acts::traps,
        acts::returns,
        acts::floods,
        network::network,
        worlds::worlds,
        worlds::parts,
    ] {
        group(&mut all);
    }
    all
}

fn add(all: &mut Vec<HostilePlugin>, name: &'static str, plugin: Plugin, expect: Expect) {
    all.push(HostilePlugin { name, bytes: plugin.bytes(), expect });
}
