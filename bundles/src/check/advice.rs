//! Warnings about manifests that are valid but probably wrong: conditions that no host fulfils, unused declarations,
//! tools without an input schema.
//!
//! Only authors see them. A Runtime accepts such a bundle.

use std::collections::BTreeSet;

use error_code::Code;

use super::Violation;
use crate::author::nearest;
use crate::capability::{KnownCapabilities, UnknownCapability};
use crate::condition::Condition;
use crate::manifest::{Amend, Layer, Manifest};
use crate::names::{Platform, ToolName, shown};
use crate::pointer::Pointer;

/// Operating systems, as named by Rust.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "dragonfly",
    "emscripten",
    "freebsd",
    "fuchsia",
    "haiku",
    "hurd",
    "illumos",
    "ios",
    "linux",
    "macos",
    "netbsd",
    "openbsd",
    "solaris",
    "wasi",
    "windows",
];

/// Processor architectures, as named by Rust.
const ARCHITECTURES: [&str; 17] = [
    "aarch64",
    "arm",
    "hexagon",
    "loongarch64",
    "m68k",
    "mips",
    "mips64",
    "powerpc",
    "powerpc64",
    "riscv32",
    "riscv64",
    "s390x",
    "sparc",
    "sparc64",
    "wasm32",
    "x86",
    "x86_64",
];

/// Common other names for the same.
const ALIASES: [(&str, &str); 14] = [
    ("amd64", "x86_64"),
    ("arm64", "aarch64"),
    ("armv7", "arm"),
    ("armv7l", "arm"),
    ("darwin", "macos"),
    ("i386", "x86"),
    ("i686", "x86"),
    ("mac", "macos"),
    ("osx", "macos"),
    ("ppc64", "powerpc64"),
    ("win", "windows"),
    ("win32", "windows"),
    ("win64", "windows"),
    ("x64", "x86_64"),
];

/// Returns warnings about unknown capabilities and platforms in conditions.
pub(crate) fn conditions(manifest: &Manifest) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut compared = 0;
    for (at, layer) in layers(manifest) {
        for (index, condition) in layer.when.iter().enumerate() {
            let problem = match condition {
                Condition::Has(name) | Condition::Lacks(name) => capability(name.as_str(), manifest, &mut compared),
                Condition::Os(name) => platform(name, "operating system", &SYSTEMS),
                Condition::Arch(name) => platform(name, "processor architecture", &ARCHITECTURES),
            };
            let Some((message, help)) = problem else { continue };
            found.push(warning(Code::UnknownCondition, at.key("when").index(index), message, help));
        }
    }
    found
}

fn capability(name: &str, manifest: &Manifest, compared: &mut usize) -> Option<(String, String)> {
    // The cost of a comparison is the product of the lengths, and a folder may contain very many unknown names.
    let left = super::MAX_COMPARISONS.saturating_sub(*compared);
    let known = KnownCapabilities {
        tools: manifest.tools.keys().map(ToolName::as_str).take(left),
        worlds: manifest.plugins.values().map(|plugin| plugin.world.as_str()).take(left),
    };
    let problem = known.problem(name, |tool| manifest.tools.contains_key(tool));
    if problem.is_some() || name.starts_with("world:") {
        *compared += manifest.tools.len() + manifest.plugins.len() + 1;
    }
    problem.map(|UnknownCapability { message, help }| (message, help))
}

fn platform(name: &Platform, what: &str, known: &[&'static str]) -> Option<(String, String)> {
    let name = name.as_str();
    if known.contains(&name) {
        return None;
    }
    let alias = ALIASES.iter().find(|(alias, meant)| *alias == name && known.contains(meant)).map(|(_, meant)| *meant);
    let help = match alias.or_else(|| nearest(name, known.iter().copied())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write one of {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    };
    Some((format!("unknown {what} `{}`", shown(name)), help))
}

/// Returns warnings about unused declarations and tools without an input schema.
pub(crate) fn declarations(manifest: &Manifest) -> Vec<Violation> {
    let layers: Vec<&Layer> = layers(manifest).map(|(_, layer)| layer).collect();
    let mut found = Vec::new();
    let mut unused = |section: &str, what: &str, names: Vec<&str>, used: BTreeSet<&str>| {
        for name in names.into_iter().filter(|name| !used.contains(name)) {
            let message = format!("no profile uses {what} `{}`", shown(name));
            let help = "name it in a profile, or remove it".to_owned();
            found.push(warning(Code::UnusedDeclaration, Pointer::root().key(section).key(name), message, help));
        }
    };
    fn names<'m, T: AsRef<str> + 'm>(lists: impl Iterator<Item = &'m Option<Amend<T>>>) -> BTreeSet<&'m str> {
        lists.flatten().flat_map(Amend::names).map(AsRef::as_ref).collect()
    }
    fn keys<K: AsRef<str>, V>(map: &std::collections::BTreeMap<K, V>) -> Vec<&str> {
        map.keys().map(AsRef::as_ref).collect()
    }
    unused("models", "model", keys(&manifest.models), names(layers.iter().map(|layer| &layer.models)));
    unused("prompts", "prompt", keys(&manifest.prompts), names(layers.iter().map(|layer| &layer.instructions)));
    unused("tools", "tool", keys(&manifest.tools), names(layers.iter().map(|layer| &layer.tools_allow)));
    unused("workflows", "workflow", keys(&manifest.workflows), names(layers.iter().map(|layer| &layer.workflows)));
    unused("plugins", "plugin", keys(&manifest.plugins), names(layers.iter().map(|layer| &layer.plugins)));
    for (name, tool) in &manifest.tools {
        if tool.input.is_none() {
            let message = format!("tool `{}` has no input schema, so its input is not checked", shown(name.as_str()));
            let help = "write `input = \"schemas/NAME.json\"` with a JSON Schema of its input".to_owned();
            found.push(warning(Code::MissingSchema, Pointer::root().key("tools").key(name), message, help));
        }
    }
    found
}

fn layers(manifest: &Manifest) -> impl Iterator<Item = (Pointer, &Layer)> {
    manifest.profiles.iter().flat_map(|(name, profile)| {
        let at = Pointer::root().key("profiles").key(name).key("layers");
        profile.layers.iter().enumerate().map(move |(index, layer)| (at.index(index), layer))
    })
}

fn warning(code: Code, pointer: Pointer, message: String, help: String) -> Violation {
    Violation { code, pointer, message, help, wanted: None, newer: false }
}
