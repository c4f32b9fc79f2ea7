//! Bundles made by code, shaped like the example of a team's configuration: profiles of some six
//! hundred bytes with conditional layers, lists, wishes and settings, and two prompts for each.
//!
//! A bundle holds chains of one depth, as many as fit; the last profile of the first chain is the
//! one that is resolved. Where a size leaves profiles less room, they say less.

use std::sync::Arc;

use bundles::canonical::to_canonical;
use bundles::{Acceptances, Bundle, BundleLimits, Digest};
use host_policy::{Facts, Request};
use serde_json::{Map, Value, json};

use super::Outcome;

/// Bytes of a profile in the example bundle, on average.
const PROFILE_BYTES: usize = 600;

/// Bytes of a prompt in the example bundle, on average.
pub(crate) const PROMPT_BYTES: usize = 1500;

/// Bytes of a profile's name with what stands around it, at most.
const NAME_BYTES: usize = 16;

/// Below this, a manifest has few prompts and tools, which all profiles share.
const ROOMY_BYTES: usize = 16 << 10;

/// How much a bundle holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// As many profiles as these bytes of manifest have room for.
    Bytes(usize),
    /// That many profiles.
    Profiles(usize),
}

/// A verified bundle whose chains are `depth` profiles deep.
pub(crate) fn bundle(extent: Extent, depth: usize, prompt_bytes: usize) -> Outcome<Bundle> {
    let (most_bytes, most_profiles) = match extent {
        Extent::Bytes(bytes) => (bytes, usize::MAX),
        Extent::Profiles(count) => (usize::MAX, count),
    };
    let mut draft = Draft::new(most_bytes >= ROOMY_BYTES, prompt_bytes);
    let mut left = most_bytes.saturating_sub(to_canonical(&draft.manifest())?.len());
    let profile_bytes = PROFILE_BYTES.min((left / depth.max(4)).saturating_sub(NAME_BYTES));
    for number in 0..most_profiles {
        let Some(rest) = left.checked_sub(draft.add(number, depth, profile_bytes)?) else {
            draft.take_back(number, depth);
            break;
        };
        left = rest;
    }
    let bytes = to_canonical(&draft.manifest())?;
    if let Extent::Bytes(wanted) = extent
        && (bytes.len() > wanted || bytes.len() < wanted - wanted / 8)
    {
        return Err(format!("a manifest of {} bytes was made where {wanted} were wanted", bytes.len()).into());
    }
    Ok(Bundle::open(bytes.into(), draft.blobs, &BundleLimits::default(), Acceptances::Refuse)?)
}

/// Asks for the profile that is resolved: the one at the end of the first chain.
pub(crate) fn request(depth: usize) -> Outcome<Request> {
    Ok(Request::new(profile(depth).parse()?, ["shell".parse()?]))
}

/// The name of that profile.
pub(crate) fn profile(depth: usize) -> String {
    profile_name(depth - 1, depth)
}

/// A host that has what most of the layers ask for.
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
    roomy: bool,
    prompt_bytes: usize,
}

impl Draft {
    fn new(roomy: bool, prompt_bytes: usize) -> Self {
        let tools = if roomy { 12 } else { 3 };
        let mut draft =
            Self { profiles: Map::new(), prompts: Map::new(), blobs: Vec::new(), tools, roomy, prompt_bytes };
        if !roomy {
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

    /// The two prompts that a profile speaks of.
    fn prompts_of(&self, number: usize, depth: usize) -> [String; 2] {
        if self.roomy {
            let name = profile_name(number, depth);
            [format!("{name}/conduct"), format!("{name}/working")]
        } else {
            [number, number + 1].map(|number| format!("shared/text-{}", number % 4))
        }
    }

    /// Adds a profile, and its prompts where it has its own. Returns the bytes that the manifest grew by.
    fn add(&mut self, number: usize, depth: usize, bytes: usize) -> Outcome<usize> {
        let prompts = self.prompts_of(number, depth);
        let mut grown = 0;
        if self.roomy {
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

    fn take_back(&mut self, number: usize, depth: usize) {
        self.profiles.remove(&profile_name(number, depth));
        if self.roomy {
            for name in self.prompts_of(number, depth) {
                self.prompts.remove(&name);
                self.blobs.pop();
            }
        }
    }

    /// A profile of at most that many bytes: pieces are taken in an order that differs between
    /// profiles, as long as there is room.
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
            keep_if_small(&mut profile, grown, bytes)?;
        }
        for layer in layers {
            let mut grown = profile.clone();
            if let Some(Value::Array(layers)) = grown.pointer_mut("/layers") {
                layers.push(layer);
            }
            keep_if_small(&mut profile, grown, bytes)?;
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

/// Bytes of an object's entry: the name in quotes, a colon, the value, a comma.
fn entry_bytes(name: &str, value: Option<&Value>) -> Outcome<usize> {
    Ok(name.len() + 4 + to_canonical(&value)?.len())
}

fn keep_if_small(profile: &mut Value, grown: Value, most: usize) -> Outcome<()> {
    if to_canonical(&grown)?.len() <= most {
        *profile = grown;
    }
    Ok(())
}

/// Adds the members of one object to another, objects within it too.
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

/// Prose of so many bytes, as prompts have it: sentences in lines of some eighty characters, lists, headings. Another
/// number gives other words in another order, so that no two texts are of one shape.
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
