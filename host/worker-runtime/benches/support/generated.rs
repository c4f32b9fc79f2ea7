//! Generated bundles with the shape of a team's configuration. A profile has about 600 bytes with conditional layers,
//! lists, wishes and settings, and two prompts.
//!
//! A bundle has as many inheritance chains of one depth as fit. The benchmarks resolve the last profile of the first
//! chain. If the requested size leaves little space, profiles have less content.

use std::sync::Arc;

use bundles::canonical::to_canonical;
use bundles::{Acceptances, Bundle, BundleLimits, Digest};
use host_policy::{Facts, Request};
use serde_json::{Map, Value, json};

use super::Outcome;

/// Average size of a profile in the example bundle, in bytes.
const PROFILE_BYTES: usize = 600;

/// Average size of a prompt in the example bundle, in bytes.
pub(crate) const PROMPT_BYTES: usize = 1500;

/// Upper bound of the bytes of a profile's name with its punctuation.
const MAX_NAME_BYTES: usize = 16;

/// Size in bytes below which a manifest has few prompts and tools, shared by all profiles.
const LARGE_MANIFEST_BYTES: usize = 16 << 10;

/// Size of a bundle.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// Size of the manifest in bytes, filled with profiles.
    Bytes(usize),
    /// Number of profiles.
    Profiles(usize),
}

/// Generates a verified bundle with inheritance chains of `depth` profiles.
pub(crate) fn bundle(extent: Extent, depth: usize, prompt_bytes: usize) -> Outcome<Bundle> {
    let (max_bytes, max_profiles) = match extent {
        Extent::Bytes(bytes) => (bytes, usize::MAX),
        Extent::Profiles(count) => (usize::MAX, count),
    };
    let mut draft = Draft::new(max_bytes >= LARGE_MANIFEST_BYTES, prompt_bytes);
    let mut free = max_bytes.saturating_sub(to_canonical(&draft.manifest())?.len());
    let profile_bytes = PROFILE_BYTES.min((free / depth.max(4)).saturating_sub(MAX_NAME_BYTES));
    for number in 0..max_profiles {
        let Some(rest) = free.checked_sub(draft.add(number, depth, profile_bytes)?) else {
            draft.remove(number, depth);
            break;
        };
        free = rest;
    }
    let bytes = to_canonical(&draft.manifest())?;
    if let Extent::Bytes(wanted) = extent
        && (bytes.len() > wanted || bytes.len() < wanted - wanted / 8)
    {
        return Err(format!("the generated manifest has {} bytes instead of {wanted}", bytes.len()).into());
    }
    Ok(Bundle::open(bytes.into(), draft.blobs, &BundleLimits::default(), Acceptances::Refuse)?)
}

/// Returns the request for the last profile of the first chain.
pub(crate) fn request(depth: usize) -> Outcome<Request> {
    Ok(Request::new(profile(depth).parse()?, ["shell".parse()?]))
}

/// Returns the name of that profile.
pub(crate) fn profile(depth: usize) -> String {
    profile_name(depth - 1, depth)
}

/// Returns facts of a host that offers most of what the layers require.
pub(crate) fn facts() -> Outcome<Facts> {
    let facts = json!({
        "os": "linux", "arch": "x86_64",
        "capabilities": ["git", "models", "shell", "tool:fs.list", "tool:fs.read", "tool:fs.write", "tool:http.get"],
        "models": ["local-small"], "mounts": ["docs", "repo"], "secrets": ["github-token"],
    });
    Ok(Facts::from_json(facts.to_string().as_bytes())?)
}

fn profile_name(number: usize, depth: usize) -> String {
    format!("role-{}-{}", number / depth, number % depth)
}

struct Draft {
    profiles: Map<String, Value>,
    prompts: Map<String, Value>,
    blobs: Vec<Arc<[u8]>>,
    tools: usize,
    is_large: bool,
    prompt_bytes: usize,
}

impl Draft {
    fn new(is_large: bool, prompt_bytes: usize) -> Self {
        let tools = if is_large { 12 } else { 3 };
        let mut draft =
            Self { profiles: Map::new(), prompts: Map::new(), blobs: Vec::new(), tools, is_large, prompt_bytes };
        if !is_large {
            (0..4).for_each(|number| draft.add_prompt(format!("shared/text-{number}")));
        }
        draft
    }

    fn add_prompt(&mut self, name: String) {
        let line = format!("{name}: say what you did, and which file you did it in.\n");
        let mut text = line.repeat(self.prompt_bytes / line.len() + 1);
        text.truncate(self.prompt_bytes);
        self.prompts.insert(name, json!({"text": {"digest": Digest::of(&text), "size": text.len()}}));
        self.blobs.push(text.into_bytes().into());
    }

    /// Returns the two prompts that a profile uses.
    fn prompts_of(&self, number: usize, depth: usize) -> [String; 2] {
        if self.is_large {
            let name = profile_name(number, depth);
            [format!("{name}/conduct"), format!("{name}/working")]
        } else {
            [number, number + 1].map(|number| format!("shared/text-{}", number % 4))
        }
    }

    /// Adds a profile, with its own prompts in a large manifest. Returns the growth of the manifest in bytes.
    fn add(&mut self, number: usize, depth: usize, bytes: usize) -> Outcome<usize> {
        let prompts = self.prompts_of(number, depth);
        let mut grown = 0;
        if self.is_large {
            for name in &prompts {
                self.add_prompt(name.clone());
                grown += entry_bytes(name, self.prompts.get(name))?;
            }
        }
        let name = profile_name(number, depth);
        let profile = self.profile(number, depth, &prompts, bytes)?;
        grown += entry_bytes(&name, Some(&profile))?;
        self.profiles.insert(name, profile);
        Ok(grown)
    }

    fn remove(&mut self, number: usize, depth: usize) {
        self.profiles.remove(&profile_name(number, depth));
        if self.is_large {
            for name in self.prompts_of(number, depth) {
                self.prompts.remove(&name);
                self.blobs.pop();
            }
        }
    }

    /// Generates a profile of at most `bytes` bytes. The order of its parts differs between profiles.
    fn profile(&self, number: usize, depth: usize, prompts: &[String; 2], bytes: usize) -> Outcome<Value> {
        let [first, second] = prompts;
        let tool = |offset: usize| format!("tool-{}", (number * 5 + offset) % self.tools);
        let in_layer = [
            json!({"tools_allow": {"append": [tool(0), tool(1), tool(2)]}}),
            json!({"instructions": {"append": [first]}}),
            json!({"settings": {"budget": {"minutes": 30 + number % 60}, "max_turns": 40 + number % 100}}),
            json!({"wishes": [{"authority": "mount:repo:write", "need": "required"}, {"authority": "shell", "need": "optional"}]}),
            json!({"settings": {"checks": {"before_report": ["format", "lint", "test-affected"], "on_failure": "stop"}}}),
            json!({"workflows": {"append": ["change"]}}),
        ];
        let layers = [
            json!({"when": ["has:shell"], "instructions": {"append": [second]}}),
            json!({"when": ["lacks:shell"], "settings": {"checks": {"before_report": [], "handed_over": true}}}),
            json!({"when": ["has:git", "has:tool:fs.read"], "tools_allow": {"append": [tool(3), tool(4)]}}),
        ];
        let mut profile = json!({"layers": [{}]});
        if number.is_multiple_of(depth) {
            profile = json!({"layers": [{"models": {"append": ["large", "local-small"]}}]});
        } else {
            merge(&mut profile, json!({"extends": [profile_name(number - 1, depth)]}));
        }
        for turn in 0..in_layer.len() {
            let Some(piece) = in_layer.get((number + turn) % in_layer.len()) else { continue };
            let mut grown = profile.clone();
            if let Some(layer) = grown.pointer_mut("/layers/0") {
                merge(layer, piece.clone());
            }
            replace_if_small(&mut profile, grown, bytes)?;
        }
        for layer in layers {
            let mut grown = profile.clone();
            if let Some(Value::Array(layers)) = grown.pointer_mut("/layers") {
                layers.push(layer);
            }
            replace_if_small(&mut profile, grown, bytes)?;
        }
        Ok(profile)
    }

    fn manifest(&self) -> Value {
        let tool = |number: usize| {
            let description = "Reads a text file of a mount, whole or a range of lines.";
            (format!("tool-{number}"), json!({"source": "host", "effect": "read", "description": description}))
        };
        let large = json!({
            "provider": "anthropic", "model": "large-model", "secret": "anthropic-api-key",
            "parameters": {"max_tokens": 16384, "temperature": 0.2},
        });
        json!({
            "schema": "yoi.config-bundle/1",
            "workspace": {"id": "acme", "name": "Acme engineering"},
            "revision": "42",
            "created_at": "2026-06-25T15:49:30Z",
            "language": "en",
            "profiles": self.profiles,
            "prompts": self.prompts,
            "tools": (0..self.tools).map(tool).collect::<Map<_, _>>(),
            "models": {"large": large, "local-small": {"provider": "ollama", "model": "small-model"}},
            "workflows": {"change": {"reference": "workflow://change/checks"}},
        })
    }
}

/// Returns the size of an object member in bytes: the name in quotes, a colon, the value, a comma.
fn entry_bytes(name: &str, value: Option<&Value>) -> Outcome<usize> {
    Ok(name.len() + 4 + to_canonical(&value)?.len())
}

fn replace_if_small(profile: &mut Value, grown: Value, max_bytes: usize) -> Outcome<()> {
    if to_canonical(&grown)?.len() <= max_bytes {
        *profile = grown;
    }
    Ok(())
}

/// Merges the members of one object into another, recursively.
fn merge(target: &mut Value, more: Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more,
    }
}

/// Generates prose like that of prompts: sentences in lines of about 80 characters, lists and headings. Each number
/// gives different words in a different order, so no two texts have the same shape.
pub(crate) fn prose(number: u64, bytes: usize) -> String {
    const WORDS: &[&str] = &[
        "the",
        "a",
        "of",
        "to",
        "and",
        "in",
        "that",
        "is",
        "for",
        "it",
        "with",
        "as",
        "on",
        "be",
        "not",
        "this",
        "by",
        "are",
        "you",
        "or",
        "which",
        "change",
        "file",
        "test",
        "review",
        "report",
        "customer",
        "service",
        "before",
        "after",
        "every",
        "write",
        "read",
        "what",
        "when",
        "where",
        "why",
        "decision",
        "release",
        "step",
        "owner",
        "migration",
        "flag",
        "measure",
        "query",
        "index",
        "request",
        "answer",
        "caller",
        "error",
        "retry",
        "timeout",
        "configuration",
        "responsibilities",
        "observability",
        "carefully",
        "unless",
        "otherwise",
        "don't",
        "well-known",
        "read-only",
        "`libs`",
        "`checks.before_report`",
        "**first**",
        "(once)",
        "\"later\"",
        "5",
        "10",
        "2024",
    ];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut text = format!("# {number}\n\n");
    let mut line = 0;
    while text.len() < bytes {
        let word = WORDS.get(draw(WORDS.len())).copied().unwrap_or_default();
        text.push_str(word);
        line += word.len() + 1;
        text.push_str(match draw(40) {
            0 => ": ",
            1..=2 => ", ",
            3 if line > 20 => ".\n\n- ",
            4 if line > 40 => ".\n\n## ",
            5..=7 => ". ",
            _ if line > 80 => "\n",
            _ => " ",
        });
        if text.ends_with(['\n', '-', '#']) || line > 80 {
            line = 0;
        }
    }
    text.truncate(bytes);
    text
}
