//! Known capabilities of hosts, for warnings about mistyped ones.
//!
//! [`Capability`](crate::Capability) checks characters only, because a bundle may name a capability of a later host. An
//! unknown capability is therefore a warning, not an error.

use crate::author::nearest;
use crate::names::shown;

/// Capabilities of one word. `shell`, `git` and `models` follow from the grants of a host. The others are set in its
/// config.
const WORDS: [&str; 4] = ["git", "gpu", "models", "shell"];

/// Families of capabilities. Each member is `FAMILY:NAME`.
const FAMILIES: [&str; 2] = ["tool", "world"];

/// All worlds of the namespace `yoi`. Worlds of other namespaces are not known here.
const WORLDS: [&str; 3] = ["yoi:runtime/resolver@1.0.0", "yoi:runtime/service@1.0.0", "yoi:runtime/tool@1.0.0"];

/// Tools and worlds that may follow `tool:` and `world:`.
#[derive(Debug, Clone, Copy)]
pub struct KnownCapabilities<T, W> {
    /// Names of tools, for suggestions only. Some may be left out to limit the work.
    pub tools: T,
    /// Worlds with their versions, in addition to those of the namespace `yoi`.
    pub worlds: W,
}

/// A capability that no host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapability {
    /// The problem, as a message.
    pub message: String,
    /// The capability that was probably meant, or the valid forms.
    pub help: String,
}

impl<'n, T: Iterator<Item = &'n str> + Clone, W: Iterator<Item = &'n str> + Clone> KnownCapabilities<T, W> {
    /// Returns the problem with a capability that no host has: an unknown word, family or world. `is_tool` decides
    /// about `tool:NAME`.
    pub fn problem(&self, name: &str, is_tool: impl Fn(&str) -> bool) -> Option<UnknownCapability> {
        let (message, meant) = match name.split_once(':') {
            _ if WORDS.contains(&name) => return None,
            Some(("tool", tool)) if is_tool(tool) => return None,
            Some(("tool", tool)) => (format!("tool `{}` not found", shown(tool)), self.nearest(name)),
            Some(("world", world)) => self.unknown_world(world)?,
            _ if is_tool(name) => (no_capability(name), Some(format!("tool:{name}"))),
            _ => (no_capability(name), self.nearest(name)),
        };
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write one of `git`, `gpu`, `models`, `shell`, `tool:NAME` of a declared tool, \
                     `world:NAMESPACE:PACKAGE/WORLD@VERSION`"
                .to_owned(),
        };
        Some(UnknownCapability { message, help })
    }

    /// Returns the nearest word, tool or world, or the same name in the nearest family.
    fn nearest(&self, name: &str) -> Option<String> {
        let family = FAMILIES.iter().filter_map(|family| {
            let (written, rest) = name.split_once(':')?;
            let is_near = written != *family && nearest(written, std::iter::once(*family)).is_some();
            is_near.then(|| format!("{family}:{rest}"))
        });
        let words = WORDS.iter().map(|word| (*word).to_owned());
        let tools = self.tools.clone().map(|tool| format!("tool:{tool}"));
        let known: Vec<String> = words.chain(tools).chain(family).collect();
        nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Returns the problem with a world and the capability that was probably meant. A well-formed world of another
    /// namespace is reported only if it is almost a known one.
    fn unknown_world(&self, written: &str) -> Option<(String, Option<String>)> {
        let known: Vec<(&str, &str)> =
            WORLDS.into_iter().chain(self.worlds.clone()).filter_map(|world| world.split_once('@')).collect();
        let (name, version) = written.split_once('@').unwrap_or((written, ""));
        let is_versioned = semver::Version::parse(version).is_ok();
        let is_formed = is_world_name(name);
        if is_formed && is_versioned && known.iter().any(|(known, _)| *known == name) {
            return None;
        }
        let near = nearest(name, known.iter().map(|(name, _)| *name));
        let is_almost = |near: &str| strsim::damerau_levenshtein(name, near) * 8 <= near.len();
        if is_formed && is_versioned && !name.starts_with("yoi:") && !near.is_some_and(is_almost) {
            return None;
        }
        let meant = known.iter().find(|(known, _)| Some(*known) == near).map(|(name, known_version)| {
            format!("world:{name}@{}", if is_versioned { version } else { known_version })
        });
        let message = if is_formed && is_versioned {
            format!("unknown world `{}`", shown(written))
        } else {
            format!("invalid world `{}`: expected a name with a version", shown(written))
        };
        Some((message, meant))
    }
}

fn no_capability(name: &str) -> String {
    format!("unknown capability `{}`", shown(name))
}

/// `true` for `namespace:package/world`, each a lower-case word of WIT.
fn is_world_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            && word.starts_with(|first: char| first.is_ascii_lowercase())
    };
    let parts = name.split_once(':').and_then(|(namespace, rest)| Some((namespace, rest.split_once('/')?)));
    parts.is_some_and(|(namespace, (package, world))| [namespace, package, world].into_iter().all(is_word))
}
