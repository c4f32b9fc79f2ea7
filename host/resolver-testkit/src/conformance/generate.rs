//! Generated scenarios: small bundles with every feature of the contract, from a seed.
//!
//! Names come from short lists, so that layers meet in the same names. The first scenarios are the smallest.

use serde_json::{Map, Value, json};

use super::scenario::Scenario;

const PROFILES: [&str; 8] = ["coder", "alpha", "writer", "base", "zeta", "mixin", "left", "omega"];
const CAPABILITIES: [&str; 4] = ["shell", "git", "tool:fs.read", "gpu"];
const AUTHORITIES: [&str; 8] = [
    "shell",
    "git:read",
    "git:write",
    "mount:repo:read",
    "mount:repo:write",
    "mount:docs:read",
    "secret:api-key",
    "egress:https://api.example.com/",
];
const KEYS: [&str; 5] = ["a", "b", "c", "d~e", "é"];
const LANGUAGES: [&str; 3] = ["de", "ja", "en-GB"];

/// Names of each list of a layer.
const NAMES: [(&str, [&str; 4]); 6] = [
    ("models", ["small", "large", "other", "best"]),
    ("instructions", ["conduct", "style", "review/method", "a"]),
    ("tools_allow", ["fs.read", "fs.write", "shell.run", "http.get"]),
    ("tools_deny", ["fs.read", "fs.write", "shell.run", "http.get"]),
    ("plugins", ["search", "issues", "ci", "bot"]),
    ("workflows", ["release", "change", "triage", "x/y"]),
];

/// Attempts for one scenario. Some inheritances have no order, and no host accepts them.
const MAX_ATTEMPTS: usize = 32;

/// Returns `count` scenarios. The same seed gives the same scenarios.
pub(super) fn scenarios(seed: u64, count: usize) -> Vec<Scenario> {
    let mut random = Random(seed);
    let scenario = |index: usize| {
        // Grows from one profile without layers to eight profiles with four layers each.
        let size = index * PROFILES.len() / count.max(1);
        (0..MAX_ATTEMPTS).find_map(|_| Scenario::from_json(&random.case(size)).ok())
    };
    (0..count).filter_map(scenario).collect()
}

/// The generator `splitmix64`. Its numbers must not change with a library, because a seed is printed to repeat a run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`, which must not be 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }

    /// `true` once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns up to `most` of the items, in any order and with repetitions.
    fn some<'a>(&mut self, items: &[&'a str], most: usize) -> Vec<&'a str> {
        (0..self.below(most + 1)).filter_map(|_| items.get(self.below(items.len())).copied()).collect()
    }

    /// Returns up to `most` of the items, each at most once.
    fn distinct<'a>(&mut self, items: &[&'a str], most: usize) -> Vec<&'a str> {
        let mut chosen = Vec::new();
        for item in self.some(items, most) {
            if !chosen.contains(&item) {
                chosen.push(item);
            }
        }
        chosen
    }

    fn case(&mut self, size: usize) -> Value {
        let start = self.below(PROFILES.len());
        let names: Vec<&str> = PROFILES.iter().cycle().skip(start).take(size + 1).copied().collect();
        let mut profiles = Map::new();
        for (index, name) in names.iter().enumerate() {
            let ancestors = names.get(index + 1..).unwrap_or_default();
            let mut extends = if ancestors.is_empty() { Vec::new() } else { self.distinct(ancestors, 3) };
            // A lineage of one profile shows little.
            extends.extend(ancestors.first().filter(|_| extends.is_empty()));
            let layers = if size == 0 { self.below(2) } else { 1 + self.below(3) };
            let layers: Vec<Value> = (0..layers).map(|_| self.layer()).collect();
            profiles.insert((*name).to_owned(), json!({ "extends": extends, "layers": layers }));
        }
        // Mostly the profile with the most ancestors.
        let selected = if self.once_in(4) { self.below(names.len()) } else { 0 };
        let profile = if self.once_in(24) { "absent" } else { names.get(selected).copied().unwrap_or("absent") };
        let required = if self.once_in(8) { self.distinct(&CAPABILITIES, 2) } else { Vec::new() };
        let [(_, models), ..] = NAMES;
        json!({
            "bundle": { "profiles": profiles },
            "facts": {
                "os": if self.once_in(4) { "macos" } else { "linux" },
                "arch": if self.once_in(4) { "aarch64" } else { "x86_64" },
                "capabilities": self.distinct(&CAPABILITIES, 4),
                "models": if self.once_in(4) { self.distinct(&models, 2) } else { models.to_vec() },
                "mounts": self.distinct(&["repo", "docs"], 2),
                "secrets": self.distinct(&["api-key", "deploy-key"], 2),
            },
            "request": { "profile": profile, "required_capabilities": required },
        })
    }

    fn layer(&mut self) -> Value {
        let mut layer = Map::new();
        if self.once_in(3) {
            let conditions = (0..=self.below(2)).map(|_| self.condition());
            layer.insert("when".to_owned(), conditions.collect());
        }
        for (field, names) in NAMES {
            if self.once_in(2) {
                let amend = if self.once_in(3) { "replace" } else { "append" };
                layer.insert(field.to_owned(), json!({ amend: self.some(&names, 3) }));
            }
        }
        if self.once_in(2) {
            layer.insert("language".to_owned(), json!(LANGUAGES.get(self.below(LANGUAGES.len()))));
        }
        if self.once_in(2) {
            let wishes = self.distinct(&AUTHORITIES, 4);
            let wish = |authority| json!({ "authority": authority, "need": if self.once_in(2) { "required" } else { "optional" } });
            layer.insert("wishes".to_owned(), wishes.into_iter().map(wish).collect());
        }
        if self.once_in(4) {
            layer.insert("drops".to_owned(), json!(self.distinct(&AUTHORITIES, 2)));
        }
        if self.once_in(2) {
            layer.insert("settings".to_owned(), self.settings(2));
        }
        layer.into()
    }

    fn condition(&mut self) -> Value {
        let name = CAPABILITIES.get(self.below(CAPABILITIES.len())).copied().unwrap_or_default();
        json!(match self.below(6) {
            0 | 1 => format!("has:{name}"),
            2 | 3 => format!("lacks:{name}"),
            4 => "os:linux".to_owned(),
            _ => "arch:aarch64".to_owned(),
        })
    }

    /// Returns a merge patch with up to `depth` levels below its members.
    fn settings(&mut self, depth: usize) -> Value {
        let mut patch = Map::new();
        for key in self.distinct(&KEYS, 3) {
            let value = match self.below(if depth == 0 { 6 } else { 9 }) {
                0 | 1 => Value::Null,
                2 => json!(self.below(3)),
                3 => json!("x"),
                4 => json!([1, null, { "a": null }]),
                5 => json!({}),
                _ => self.settings(depth - 1),
            };
            patch.insert(key.to_owned(), value);
        }
        patch.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_scenarios_and_another_seed_others() {
        let texts =
            |seed| scenarios(seed, 40).iter().map(|scenario| scenario.to_json().to_string()).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        assert_eq!(texts(1).len(), 40);
    }
}
