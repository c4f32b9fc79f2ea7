//! An answer is accepted exactly if some order of the active layers yields it. The host decides that without
//! trying the orders. These tests compare its decision with a search through all orders.

use std::collections::{BTreeMap, BTreeSet};

use bundles::{BundleLimits, Need};
use host_policy::{Proposal, ProposedFailure, ProposedOrigin, verify, verify_failure};
use proptest::prelude::*;
use serde_json::{Value, json};
use yoi_tests::fixtures;

const TOOLS: [&str; 3] = ["x", "y", "z"];
const MODELS: [&str; 3] = ["large", "small", "absent"];
const LANGUAGES: [&str; 2] = ["de", "fr"];
const AUTHORITIES: [&str; 5] = ["mount:repo:read", "mount:repo:write", "git:read", "git:write", "shell"];

#[derive(Debug, Clone)]
enum Amend {
    Append(BTreeSet<&'static str>),
    Replace(BTreeSet<&'static str>),
}

#[derive(Debug, Clone)]
struct Layer {
    allow: Option<Amend>,
    deny: Option<Amend>,
    models: Option<Amend>,
    plugins: Option<Amend>,
    language: Option<&'static str>,
    wishes: Vec<(&'static str, Need)>,
    drops: BTreeSet<&'static str>,
}

/// The result of applying all layers, or an answer that claims such a result.
#[derive(Debug, Clone, Default, PartialEq)]
struct Answer {
    tools: BTreeSet<&'static str>,
    model: Option<&'static str>,
    plugins: BTreeSet<&'static str>,
    language: Option<&'static str>,
    wishes: BTreeMap<&'static str, Need>,
}

fn amend(list: &mut BTreeSet<&'static str>, amend: Option<&Amend>) {
    match amend {
        Some(Amend::Append(names)) => list.extend(names),
        Some(Amend::Replace(names)) => *list = names.clone(),
        None => {}
    }
}

/// Returns the label of a mount or the word of another authority, because a drop of one access removes both.
fn without_access(authority: &str) -> &str {
    authority.trim_end_matches(":read").trim_end_matches(":write")
}

/// Returns the result of applying the layers in the given order, and all models that are named at the end.
fn joined<'a>(layers: impl Iterator<Item = &'a Layer>) -> (Answer, BTreeSet<&'static str>) {
    let (mut answer, mut denied, mut models) = (Answer::default(), BTreeSet::new(), BTreeSet::new());
    for layer in layers {
        amend(&mut answer.tools, layer.allow.as_ref());
        amend(&mut denied, layer.deny.as_ref());
        amend(&mut models, layer.models.as_ref());
        amend(&mut answer.plugins, layer.plugins.as_ref());
        answer.language = layer.language.or(answer.language);
        let is_dropped =
            |authority: &&str| layer.drops.iter().any(|dropped| without_access(dropped) == without_access(authority));
        answer.wishes.retain(|authority, _| !is_dropped(authority));
        for (authority, need) in &layer.wishes {
            let held = answer.wishes.entry(authority).or_insert(*need);
            *held = (*held).min(*need);
        }
    }
    answer.tools.retain(|tool| !denied.contains(tool));
    (answer, models)
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}

/// `true` if the result of an order has all values of the answer, and the answer has every required wish.
fn is_yielded(answer: &Answer, joined: &Answer, models: &BTreeSet<&str>) -> bool {
    let required = joined.wishes.iter().filter(|(_, need)| **need == Need::Required);
    answer.tools.is_subset(&joined.tools)
        && answer.plugins.is_subset(&joined.plugins)
        && answer.model.is_none_or(|model| models.contains(model))
        && answer.language.is_none_or(|language| joined.language == Some(language))
        && answer.wishes.iter().all(|wish| joined.wishes.get_key_value(wish.0) == Some(wish))
        && required.into_iter().all(|(authority, need)| answer.wishes.get(authority) == Some(need))
}

fn manifest(layers: &[Layer]) -> bundles::Bundle {
    let amend = |amend: &Option<Amend>| match amend {
        Some(Amend::Append(names)) if names.is_empty() => Value::Null,
        Some(Amend::Append(names)) => json!({ "append": names }),
        Some(Amend::Replace(names)) => json!({ "replace": names }),
        None => Value::Null,
    };
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let wishes: Vec<Value> =
                layer.wishes.iter().map(|(authority, need)| json!({ "authority": authority, "need": need })).collect();
            json!({
                "tools_allow": amend(&layer.allow), "tools_deny": amend(&layer.deny), "models": amend(&layer.models),
                "plugins": amend(&layer.plugins), "language": layer.language, "wishes": wishes, "drops": layer.drops,
            })
        })
        .collect();
    let declared = json!({ "tools": TOOLS, "models": MODELS, "plugins": TOOLS });
    fixtures::bundle(&json!({ "main": { "layers": layers } }), &declared)
}

/// Converts an answer to a proposal. Every origin is a layer that writes the value, if one exists.
fn proposal(layers: &[Layer], answer: &Answer) -> Proposal {
    let holds = |amend: &Option<Amend>, name: &str| match amend {
        Some(Amend::Append(names) | Amend::Replace(names)) => names.contains(name),
        None => false,
    };
    let mut origins = Vec::new();
    let mut origin = |field: String, writes: &dyn Fn(&Layer) -> bool| {
        let layer = layers.iter().rposition(writes).unwrap_or_default();
        origins.push(ProposedOrigin { field, profile: "main".into(), layer: layer.try_into().expect("few") });
    };
    for (index, tool) in answer.tools.iter().enumerate() {
        origin(format!("/tools/{index}"), &|layer| holds(&layer.allow, tool));
    }
    for (index, plugin) in answer.plugins.iter().enumerate() {
        origin(format!("/plugins/{index}"), &|layer| holds(&layer.plugins, plugin));
    }
    if let Some(model) = answer.model {
        origin("/model".into(), &|layer| holds(&layer.models, model));
    }
    if answer.language.is_some() {
        origin("/language".into(), &|layer| layer.language == answer.language);
    }
    for (index, authority) in answer.wishes.keys().enumerate() {
        origin(format!("/wishes/{index}"), &|layer| layer.wishes.iter().any(|wish| wish.0 == *authority));
    }
    let texts = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
    Proposal {
        lineage: vec!["main".into()],
        model: answer.model.map(str::to_owned),
        tools: texts(&answer.tools),
        plugins: texts(&answer.plugins),
        language: answer.language.map(str::to_owned),
        wishes: answer.wishes.iter().map(|(authority, need)| ((*authority).to_owned(), *need)).collect(),
        settings: "{}".into(),
        origins,
        ..Proposal::default()
    }
}

fn facts() -> host_policy::Facts {
    fixtures::facts(&json!({ "os": "linux", "arch": "x86_64", "models": ["large", "small"] }))
}

fn is_accepted(layers: &[Layer], bundle: &bundles::Bundle, answer: &Answer) -> bool {
    let proposal = proposal(layers, answer);
    verify(bundle.manifest(), &facts(), &fixtures::request("main"), &BundleLimits::default(), proposal).is_ok()
}

fn names(of: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<&'static str>> {
    proptest::sample::subsequence(of, 0..=of.len()).prop_map(|names| names.into_iter().collect())
}

fn amendment(of: &'static [&'static str]) -> impl Strategy<Value = Option<Amend>> {
    prop_oneof![
        3 => Just(None),
        2 => names(of).prop_map(|names| Some(Amend::Append(names))),
        3 => names(of).prop_map(|names| Some(Amend::Replace(names))),
    ]
}

fn need() -> impl Strategy<Value = Need> {
    prop_oneof![Just(Need::Required), Just(Need::Optional)]
}

fn layer() -> impl Strategy<Value = Layer> {
    let wish = (proptest::sample::select(&AUTHORITIES[..]), need());
    (
        amendment(&TOOLS),
        amendment(&TOOLS),
        amendment(&MODELS),
        amendment(&TOOLS),
        proptest::option::weighted(0.2, proptest::sample::select(&LANGUAGES[..])),
        proptest::collection::vec(wish, 0..3),
        prop_oneof![2 => Just(BTreeSet::new()), 1 => names(&AUTHORITIES)],
    )
        .prop_map(|(allow, deny, models, plugins, language, wishes, drops)| Layer {
            allow,
            deny,
            models,
            plugins,
            language,
            wishes,
            drops,
        })
}

fn wishes() -> impl Strategy<Value = BTreeMap<&'static str, Need>> {
    proptest::collection::btree_map(proptest::sample::select(&AUTHORITIES[..]), need(), 0..3)
}

/// A single change of an answer.
#[derive(Debug, Clone)]
enum Edit {
    Tool(&'static str),
    Plugin(&'static str),
    Model(Option<&'static str>),
    Language(Option<&'static str>),
    Ask(&'static str, Need),
    Forget(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    use proptest::option::of;
    use proptest::sample::select;
    prop_oneof![
        3 => select(&TOOLS[..]).prop_map(Edit::Tool),
        1 => select(&TOOLS[..]).prop_map(Edit::Plugin),
        1 => of(select(&MODELS[..2])).prop_map(Edit::Model),
        1 => of(select(&LANGUAGES[..])).prop_map(Edit::Language),
        3 => (select(&AUTHORITIES[..]), need()).prop_map(|(authority, need)| Edit::Ask(authority, need)),
        2 => select(&AUTHORITIES[..]).prop_map(Edit::Forget),
    ]
}

impl Edit {
    fn apply(&self, answer: &mut Answer) {
        match self {
            Self::Tool(name) => _ = answer.tools.insert(name),
            Self::Plugin(name) => _ = answer.plugins.insert(name),
            Self::Model(model) => answer.model = *model,
            Self::Language(language) => answer.language = *language,
            Self::Ask(authority, need) => _ = answer.wishes.insert(authority, *need),
            Self::Forget(authority) => _ = answer.wishes.remove(authority),
        }
    }
}

fn check(layers: &[Layer], answer: &Answer) -> Result<(), TestCaseError> {
    let bundle = manifest(layers);
    let possible = orders(layers.len()).iter().any(|order| {
        let (joined, models) = joined(order.iter().filter_map(|at| layers.get(*at)));
        is_yielded(answer, &joined, &models)
    });
    prop_assert_eq!(is_accepted(layers, &bundle, answer), possible);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn edited_answer_is_accepted_exactly_if_an_order_yields_it(
        layers in proptest::collection::vec(layer(), 1..5),
        order in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec(edit(), 0..3),
    ) {
        let all = orders(layers.len());
        let (mut answer, models) = joined(order.get(&all).iter().filter_map(|at| layers.get(*at)));
        answer.model = models.iter().find(|model| **model != "absent").copied();
        prop_assert!(is_accepted(&layers, &manifest(&layers), &answer), "an honest answer is refused");
        for edit in &edits {
            edit.apply(&mut answer);
        }
        check(&layers, &answer)?;
    }

    #[test]
    fn random_answer_is_accepted_exactly_if_an_order_yields_it(
        layers in proptest::collection::vec(layer(), 1..5),
        tools in names(&TOOLS),
        plugins in names(&TOOLS),
        wishes in wishes(),
    ) {
        check(&layers, &Answer { tools, plugins, wishes, ..Answer::default() })?;
    }

    #[test]
    fn missing_models_are_accepted_exactly_if_an_order_leaves_no_offered_model(
        layers in proptest::collection::vec(layer(), 1..5),
    ) {
        let bundle = manifest(&layers);
        let failure = ProposedFailure::NoModel(vec!["absent".into()]);
        let possible = orders(layers.len()).iter().any(|order| {
            joined(order.iter().filter_map(|at| layers.get(*at))).1.into_iter().eq(["absent"])
        });
        let is_accepted = verify_failure(bundle.manifest(), &facts(), &fixtures::request("main"), &failure).is_ok();
        prop_assert_eq!(is_accepted, possible);
    }
}

/// `true` if an answer with one tool is accepted for these layers. The origin of the tool is the first layer.
fn is_tool_accepted(layers: Value) -> bool {
    let bundle = fixtures::bundle(&json!({ "main": { "layers": layers } }), &json!({ "tools": ["x", "y"] }));
    let origin = ProposedOrigin { field: "/tools/0".into(), profile: "main".into(), layer: 0 };
    let proposal = Proposal {
        lineage: vec!["main".into()],
        tools: vec!["x".into()],
        settings: "{}".into(),
        origins: vec![origin],
        ..Proposal::default()
    };
    match verify(bundle.manifest(), &facts(), &fixtures::request("main"), &BundleLimits::default(), proposal) {
        Ok(_) => true,
        Err(misbehaved) => {
            assert_eq!(misbehaved.field, "/tools/0");
            false
        }
    }
}

#[test]
fn tool_that_every_replacement_of_the_deny_list_denies_is_refused() {
    let allow = json!({ "append": ["x"] });
    let replacing = |names: Value| json!({ "tools_deny": { "replace": names } });
    let both = |names: Value| json!({ "tools_allow": allow, "tools_deny": { "replace": names } });
    for denied in [
        json!([both(json!(["x"]))]),
        json!([both(json!(["x"])), replacing(json!(["y", "x"]))]),
        json!([{ "tools_allow": allow }, replacing(json!(["x"])), { "tools_deny": { "append": ["y"] } }]),
        json!([{ "tools_allow": allow }, { "tools_deny": { "append": ["x"] } }]),
        // The layer that removes the deny also clears the allow list, and the layer that allows also denies.
        json!([both(json!(["x"])), { "tools_allow": { "replace": [] }, "tools_deny": { "replace": [] } }]),
    ] {
        assert!(!is_tool_accepted(denied.clone()), "{denied}");
    }
    for allowed in [
        json!([both(json!(["y"]))]),
        json!([both(json!(["x"])), replacing(json!(["y"]))]),
        json!([both(json!(["x"])), replacing(json!([]))]),
        json!([{ "tools_allow": allow }, replacing(json!(["y"])), { "tools_deny": { "append": ["x"] } }]),
    ] {
        assert!(is_tool_accepted(allowed.clone()), "{allowed}");
    }
}

/// Returns the field and the message if an answer with these wishes is refused. The origin of every wish is the first
/// layer.
fn refused(layers: &Value, wishes: &[(&str, Need)]) -> Option<(String, String)> {
    let bundle = fixtures::bundle(&json!({ "main": { "layers": layers } }), &json!({}));
    let origin = |index: usize| ProposedOrigin { field: format!("/wishes/{index}"), profile: "main".into(), layer: 0 };
    let proposal = Proposal {
        lineage: vec!["main".into()],
        wishes: wishes.iter().map(|(authority, need)| ((*authority).to_owned(), *need)).collect(),
        settings: "{}".into(),
        origins: (0..wishes.len()).map(origin).collect(),
        ..Proposal::default()
    };
    let verified = verify(bundle.manifest(), &facts(), &fixtures::request("main"), &BundleLimits::default(), proposal);
    verified.err().map(|misbehaved| (misbehaved.field.clone(), misbehaved.to_string()))
}

#[test]
fn wish_for_one_access_does_not_allow_the_other() {
    for (written, other) in [
        ("mount:repo:write", "mount:repo:read"),
        ("mount:repo:read", "mount:repo:write"),
        ("git:write", "git:read"),
        ("git:read", "git:write"),
        ("egress:https://a.example.com/v1/", "egress:https://a.example.com/v1/users"),
        ("egress:https://a.example.com/v1/", "egress:https://a.example.com/"),
        ("egress:https://a.example.com/", "egress:https://a.example.com:8443/"),
        ("secret:token", "secret:token-2"),
    ] {
        let layers = json!([{ "wishes": [{ "authority": written, "need": "optional" }] }]);
        for answer in [&[(other, Need::Optional)][..], &[(written, Need::Optional), (other, Need::Optional)]] {
            let (field, _) = refused(&layers, answer).unwrap_or_else(|| panic!("{other} for {written}"));
            assert_eq!(field, format!("/wishes/{}", answer.len() - 1));
        }
        assert_eq!(refused(&layers, &[(written, Need::Optional)]), None);
        assert!(refused(&layers, &[(written, Need::Required)]).is_some());
        let twice = [(written, Need::Optional), (written, Need::Optional)];
        assert_eq!(refused(&layers, &twice).expect("twice").0, "/wishes/1");
    }
}

#[test]
fn answer_may_omit_or_weaken_a_required_wish_only_if_a_layer_drops_it() {
    let wish = |authority: &str, need: &str| json!({ "wishes": [{ "authority": authority, "need": need }] });
    let shell = |need| ("shell", need);
    // No layer drops the wish, so it stays, and `required` wins over `optional`.
    let layers = json!([wish("shell", "required"), wish("shell", "optional")]);
    let (field, message) = refused(&layers, &[]).expect("left out");
    assert_eq!(field, "/wishes");
    assert!(message.contains("`shell`"), "{message}");
    assert_eq!(refused(&layers, &[shell(Need::Optional)]).expect("weakened").0, "/wishes/0");
    assert_eq!(refused(&layers, &[shell(Need::Required)]), None);
    // A drop of another authority has no effect.
    let layers = json!([wish("mount:repo:read", "required"), { "drops": ["mount:docs:read", "git:read", "shell"] }]);
    assert!(refused(&layers, &[]).is_some());
    // A drop of a mount or of git removes both accesses.
    for (wished, dropped) in [("mount:repo:read", "mount:repo:write"), ("git:write", "git:read"), ("shell", "shell")] {
        let layers = json!([wish(wished, "required"), { "drops": [dropped] }]);
        assert_eq!(refused(&layers, &[]), None, "{wished}");
        assert_eq!(refused(&layers, &[(wished, Need::Required)]), None, "{wished}: dropped before the wish");
        assert!(refused(&layers, &[(wished, Need::Optional)]).is_some(), "{wished}: no layer has it as optional");
    }
    // A layer applies its drops before its wishes, so its own drop does not remove its wish.
    let layers = json!([{ "wishes": [{ "authority": "shell", "need": "required" }], "drops": ["shell"] }]);
    assert!(refused(&layers, &[]).is_some());
    // An answer may omit an optional wish.
    assert_eq!(refused(&json!([wish("shell", "optional")]), &[]), None);
}

#[test]
fn answer_with_two_wishes_that_drop_each_other_is_refused() {
    let layers = json!([
        { "wishes": [{ "authority": "shell", "need": "optional" }], "drops": ["git:read"] },
        { "wishes": [{ "authority": "git:read", "need": "optional" }], "drops": ["shell"] },
    ]);
    let bundle = fixtures::bundle(&json!({ "main": { "layers": layers } }), &json!({}));
    let answer = |wishes: &[(&str, u32)]| {
        let origins = wishes.iter().enumerate().map(|(index, (_, layer))| ProposedOrigin {
            field: format!("/wishes/{index}"),
            profile: "main".into(),
            layer: *layer,
        });
        let proposal = Proposal {
            lineage: vec!["main".into()],
            wishes: wishes.iter().map(|(authority, _)| ((*authority).to_owned(), Need::Optional)).collect(),
            settings: "{}".into(),
            origins: origins.collect(),
            ..Proposal::default()
        };
        verify(bundle.manifest(), &facts(), &fixtures::request("main"), &BundleLimits::default(), proposal)
    };
    assert!(answer(&[("shell", 0)]).is_ok());
    assert!(answer(&[("git:read", 1)]).is_ok());
    assert!(answer(&[("shell", 0), ("git:read", 1)]).is_err());
}

#[test]
fn error_for_settings_contains_no_number_or_text_of_the_guest() {
    let bundle = manifest(&[]);
    let message = |settings: String| {
        let proposal = Proposal { lineage: vec!["main".into()], settings, ..Proposal::default() };
        verify(bundle.manifest(), &facts(), &fixtures::request("main"), &BundleLimits::default(), proposal)
            .expect_err("refused")
            .to_string()
    };
    type Text = fn(usize) -> String;
    let texts: [Text; 7] = [
        |count| format!("{}x", " ".repeat(count)),
        |count| format!("{}x", "\n".repeat(count)),
        |count| format!("{{{}\"a\":1,\"a\":2}}", " ".repeat(count)),
        |count| format!("{{{}\"a\":9007199254740993}}", " ".repeat(count)),
        |count| format!("{}1{}", "[".repeat(count * 100), "]".repeat(count * 100)),
        |count| format!("{{\"a\":\"{}\"}}", "x".repeat((2 << 20) + count)),
        |count| format!("{{\"{}\":1}}", "k".repeat(count)),
    ];
    for text in texts {
        assert_eq!(message(text(3)), message(text(7)));
    }
}
