//! Odd and large scenarios that every host accepts: names, settings and bundles up to their limits, and requests that fail.

use std::sync::OnceLock;

use bundles::BundleLimits;
use serde_json::{Map, Value, json};

use super::error::KitError;
use super::scenario::Scenario;

/// A named scenario. The reference resolver has the expected outcome.
#[derive(Debug)]
pub(super) struct Hostile {
    pub(super) check: &'static str,
    pub(super) claim: &'static str,
    pub(super) scenario: Scenario,
}

/// Returns all scenarios, the small ones first. They are built once, because opening the large bundles takes most of the time
/// of a short run.
pub(super) fn scenarios() -> Result<&'static [Hostile], KitError> {
    static SCENARIOS: OnceLock<Vec<Hostile>> = OnceLock::new();
    match SCENARIOS.get() {
        Some(scenarios) => Ok(scenarios),
        None => build().map(|scenarios| SCENARIOS.get_or_init(|| scenarios).as_slice()),
    }
}

fn build() -> Result<Vec<Hostile>, KitError> {
    let all: [(&'static str, &'static str, Value); 19] = [
        (
            "hostile/unknown_profile",
            "an unknown profile is reported with its name",
            case(json!({ "coder": {} }), "absent"),
        ),
        (
            "hostile/unmet_capabilities",
            "unmet capabilities are reported in the order of the request, before a missing model",
            unmet_capabilities(),
        ),
        (
            "hostile/no_model",
            "if the host offers none of the models, all of them are reported in order",
            only(json!({ "models": { "append": ["z", "a", "z"] } })),
        ),
        ("hostile/empty_profile", "a profile without layers has an empty resolution", case(json!({ "p": {} }), "p")),
        ("hostile/empty_lists", "empty amendments append nothing, or replace by nothing", empty_lists()),
        ("hostile/prototype_names", "names of built-in properties are names like others", prototype_names()),
        ("hostile/prototype_settings", "keys of built-in properties are keys like others", prototype_settings()),
        ("hostile/unicode_settings", "keys and values of settings are any Unicode text", unicode_settings()),
        ("hostile/escaped_settings", "keys are escaped in pointers by RFC 6901", escaped_settings()),
        ("hostile/numbers", "numbers of settings keep their value", numbers()),
        ("hostile/removed_settings", "an emptied object stays as a leaf", removed_settings()),
        ("hostile/deep_settings", "settings of the greatest depth are merged", deep_settings()),
        ("hostile/long_names", "names of the greatest length are kept", long_names()),
        ("hostile/deep_lineage", "the longest chain of parents is resolved", deep_lineage()),
        ("hostile/wide_lineage", "profiles with many parents are resolved", wide_lineage()),
        ("hostile/many_layers", "the greatest number of layers and conditions is applied", many_layers()),
        ("hostile/long_lists", "lists of the greatest length keep their order", long_lists()),
        ("hostile/many_wishes", "many wishes and drops are combined", many_wishes()),
        ("hostile/large_settings", "settings of the greatest size are merged", large_settings()),
    ];
    let mut scenarios = Vec::new();
    for (check, claim, json) in all {
        let scenario =
            Scenario::from_json(&json).map_err(|source| KitError::Scenario { name: check.to_owned(), source })?;
        scenarios.push(Hostile { check, claim, scenario });
    }
    scenarios.push(Hostile {
        check: "hostile/large_bundle",
        claim: "a large bundle is resolved within the limits",
        scenario: large_scenario()?,
    });
    Ok(scenarios)
}

/// Returns a large scenario: 31 ancestors with conditional layers, lists, wishes and settings, 3 KiB for each of 124 layers.
pub fn large_scenario() -> Result<Scenario, KitError> {
    Scenario::from_json(&large_bundle())
        .map_err(|source| KitError::Scenario { name: "hostile/large_bundle".to_owned(), source })
}

fn case(profiles: Value, profile: &str) -> Value {
    json!({
        "bundle": { "profiles": profiles },
        "facts": {
            "os": "linux", "arch": "x86_64", "capabilities": ["shell", "git"], "models": ["small"],
            "mounts": ["repo"], "secrets": ["api-key"],
        },
        "request": { "profile": profile, "required_capabilities": [] },
    })
}

/// Returns a scenario with one profile of one layer.
fn only(layer: Value) -> Value {
    case(json!({ "p": { "layers": [layer] } }), "p")
}

/// Returns a scenario with one profile of layers that have only settings.
fn settings(patches: &[Value]) -> Value {
    let layers: Vec<Value> = patches.iter().map(|patch| json!({ "settings": patch })).collect();
    case(json!({ "p": { "layers": layers } }), "p")
}

fn unmet_capabilities() -> Value {
    let mut case = only(json!({ "models": { "append": ["none"] } }));
    if let Some(request) = case.get_mut("request") {
        *request = json!({ "profile": "p", "required_capabilities": ["z", "git", "a"] });
    }
    case
}

fn empty_lists() -> Value {
    let lists = ["models", "instructions", "tools_allow", "tools_deny", "plugins", "workflows"];
    let amend = |amend: &str, names: &[&str]| -> Value {
        lists.iter().map(|list| ((*list).to_owned(), json!({ amend: names }))).collect::<Map<_, _>>().into()
    };
    let first = json!({ "layers": [amend("append", &["small", "b"]), amend("append", &[])] });
    let second = json!({ "extends": ["p"], "layers": [amend("replace", &[])] });
    case(json!({ "p": first, "q": second }), "q")
}

const PROTOTYPE: [&str; 5] = ["constructor", "prototype", "hasownproperty", "then", "undefined"];

fn prototype_names() -> Value {
    let lists = json!({
        "instructions": { "append": PROTOTYPE }, "tools_allow": { "append": PROTOTYPE }, "plugins": { "append": PROTOTYPE },
        "workflows": { "append": PROTOTYPE }, "tools_deny": { "append": ["then"] },
    });
    let base = json!({ "layers": [lists] });
    case(json!({ "constructor": { "extends": ["prototype", "then"] }, "prototype": base, "then": {} }), "constructor")
}

fn prototype_settings() -> Value {
    let keys = ["__proto__", "constructor", "toString", "hasOwnProperty", "length", "__class__", "null", "0"];
    let patch = |value: Value| keys.iter().map(|key| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>();
    settings(&[json!(patch(json!({ "a": 1 }))), json!(patch(json!({ "b": [2], "a": null }))), json!({ "length": {} })])
}

fn unicode_settings() -> Value {
    // U+FFFF sorts behind U+1F600 in UTF-16 and before it in UTF-8. The two spellings of `é` are two keys.
    let keys = ["", " ", "é", "e\u{301}", "\u{ffff}", "\u{1f600}", "日本語", "\"", "\\"];
    let patch = |value: &str| keys.iter().map(|key| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>();
    settings(&[
        json!(patch("\u{0}\u{1f}\u{7f}\u{2028}\r\n\t\"\\/")),
        json!({ "é": { "日本語": "\u{10ffff}" }, "": null }),
        json!({ "\u{ffff}": null }),
    ])
}

fn escaped_settings() -> Value {
    settings(&[
        json!({ "a~b": { "b/c": 1, "d~1": 2, "d~0": 3 }, "b/c": { "c~d": {}, "": 4 } }),
        json!({ "a~b": { "b/c": 5 } }),
    ])
}

fn numbers() -> Value {
    let numbers = json!([
        0,
        1,
        -1,
        9_007_199_254_740_991_i64,
        -9_007_199_254_740_991_i64,
        0.1,
        1e-7,
        1.5e300,
        5e-324,
        123_456_789.125
    ]);
    settings(&[json!({ "list": numbers, "a": 1e21, "b": 0.1 }), json!({ "b": 2.5e-8, "c": 9_007_199_254_740_991_i64 })])
}

fn removed_settings() -> Value {
    settings(&[
        json!({ "a": { "b": { "c": 1 } }, "d": [null, { "e": null }], "f": 1 }),
        json!({ "a": { "b": { "c": null } }, "g": { "h": null }, "f": { "i": null } }),
        json!({ "a": {}, "g": {}, "d": null }),
    ])
}

fn deep_settings() -> Value {
    // The settings begin at the sixth level of the manifest.
    let depth = BundleLimits::default().json_depth.saturating_sub(6);
    let nested = |leaf: Value| (1..depth).fold(leaf, |inner, _| json!({ "a": inner }));
    settings(&[nested(json!({ "x": 1, "y": 2 })), nested(json!({ "x": null, "z": {} }))])
}

fn long_names() -> Value {
    let name = |first: char, length: usize| -> String {
        std::iter::once(first).chain(std::iter::repeat_n('x', length - 1)).collect()
    };
    let path = |first: char| format!("{}/{}", name(first, 63), name(first, 63));
    let layer = json!({
        "when": ["has:shell"],
        "models": { "append": ["small", name('m', 63)] },
        "instructions": { "append": [path('b'), path('a')] },
        "tools_allow": { "append": [name('b', 63), name('a', 63)] },
        "plugins": { "append": [name('b', 63), name('a', 63)] },
        "workflows": { "append": [path('b'), path('a')] },
        "wishes": [
            { "authority": format!("secret:{}", name('s', 48)), "need": "required" },
            { "authority": format!("mount:{}:write", name('m', 48)), "need": "optional" },
            { "authority": format!("egress:https://api.example.com/{}", name('p', 200)), "need": "optional" },
        ],
        "settings": { name('k', 256): { name('l', 256): 1 } },
    });
    let (child, base) = (name('p', 63), name('a', 63));
    let profiles: Map<String, Value> = [
        (child.clone(), json!({ "extends": [base], "layers": [layer] })),
        (base.clone(), json!({ "layers": [{ "language": "de" }] })),
    ]
    .into_iter()
    .collect();
    case(profiles.into(), &child)
}

fn deep_lineage() -> Value {
    let last = BundleLimits::default().lineage.saturating_sub(1);
    let profiles: Map<String, Value> = (0..=last)
        .map(|index| {
            // Each level has a name that sorts differently than its place.
            let name = |index: usize| format!("p{}", (index * 7) % 32);
            let extends = if index < last { vec![name(index + 1)] } else { Vec::new() };
            let layer = json!({
                "instructions": { "append": [format!("i{index}")] },
                "settings": { "last": index, format!("k{}", index % 5): index },
            });
            (name(index), json!({ "extends": extends, "layers": [layer] }))
        })
        .collect();
    case(profiles.into(), "p0")
}

fn wide_lineage() -> Value {
    // A ladder: each profile extends all that are below it, the nearest first.
    let limits = BundleLimits::default();
    let profiles: Map<String, Value> = (0..limits.lineage)
        .map(|index| {
            let parents: Vec<String> =
                (index + 1..limits.lineage).take(limits.parents).map(|parent| format!("p{parent}")).collect();
            let layer = json!({ "plugins": { "append": [format!("g{index}")] } });
            (format!("p{index}"), json!({ "extends": parents, "layers": [layer] }))
        })
        .collect();
    case(profiles.into(), "p0")
}

fn many_layers() -> Value {
    let layers: Vec<Value> = (0..BundleLimits::default().layers)
        .map(|index| {
            let condition = if index.is_multiple_of(3) { "lacks:shell" } else { "has:shell" };
            let when: Vec<&str> = std::iter::repeat_n(condition, 32).collect();
            json!({ "when": when, "tools_allow": { "append": [format!("t{}", index % 40)] }, "settings": { "last": index } })
        })
        .collect();
    case(json!({ "p": { "layers": layers } }), "p")
}

fn long_lists() -> Value {
    let most = BundleLimits::default().list_items;
    let names = |step: usize| (0..most).map(|index| format!("n{}", (index * step) % most)).collect::<Vec<_>>();
    let list = json!({ "append": names(5) });
    let first = json!({ "instructions": list, "tools_allow": list, "plugins": list, "workflows": list });
    let second = json!({ "tools_deny": { "append": names(1).iter().step_by(2).collect::<Vec<_>>() } });
    case(json!({ "p": { "layers": [first, second] } }), "p")
}

fn many_wishes() -> Value {
    let wish = |index: usize, need: &str| json!({ "authority": format!("mount:m{index}:{}", if index.is_multiple_of(2) { "read" } else { "write" }), "need": need });
    let first: Vec<Value> = (0..600).map(|index| wish(index, "optional")).collect();
    let second: Vec<Value> = (300..900).map(|index| wish(index, "required")).collect();
    let drops: Vec<String> = (200..400).map(|index| format!("mount:m{index}:read")).collect();
    case(json!({ "p": { "layers": [{ "wishes": first }, { "drops": drops, "wishes": second }] } }), "p")
}

fn large_settings() -> Value {
    let patch = |from: usize, value: &str| -> Value {
        (from..from + 2000)
            .map(|index| (format!("key-{index}"), json!({ "value": value })))
            .collect::<Map<_, _>>()
            .into()
    };
    settings(&[patch(0, "first first first first"), patch(1000, "second second second")])
}

fn large_bundle() -> Value {
    let profiles: Map<String, Value> = (0..31)
        .map(|index: usize| {
            let parents: Vec<String> = [index + 1, index + 2, index + 5]
                .into_iter()
                .filter(|parent| *parent < 31)
                .map(|parent| format!("p{parent}"))
                .collect();
            let layers: Vec<Value> = (0..4).map(|layer| large_layer(index, layer)).collect();
            (format!("p{index}"), json!({ "extends": parents, "layers": layers }))
        })
        .collect();
    case(profiles.into(), "p0")
}

fn large_layer(profile: usize, layer: usize) -> Value {
    let names = |step: usize| {
        (0..24).map(|index| format!("n{}", (profile * 11 + layer * 5 + index * step) % 200)).collect::<Vec<_>>()
    };
    let list = json!({ "append": names(3) });
    let condition = if (profile + layer).is_multiple_of(5) { "lacks:shell" } else { "has:shell" };
    let wishes: Vec<Value> = (0..8)
        .map(|index| json!({ "authority": format!("mount:m{}:read", (profile + index * 3) % 60), "need": "optional" }))
        .collect();
    let settings: Map<String, Value> = (0..16)
        .map(|index| {
            (format!("k{}", (profile * 3 + index) % 40), json!({ format!("l{layer}"): index, "text": "some text" }))
        })
        .collect();
    json!({
        "when": [condition], "models": { "append": ["large", "small"] }, "instructions": list, "tools_allow": list,
        "tools_deny": { "append": names(7).get(..4).unwrap_or_default() }, "plugins": list, "workflows": list,
        "wishes": wishes, "settings": settings,
    })
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_host_accepts_every_scenario() {
        assert!(scenarios().expect("scenarios").len() >= 20);
    }
}
