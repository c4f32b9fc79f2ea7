//! Faulty resolvers: each is the built-in resolver with one fault, in what it reads or in what it answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bundles::manifest::{Amend, Layer, Profile};
use component_host::{BundleRead, BundleView, Run};
use host_policy::{Facts, Proposal, ProposedFailure, ProposedOrigin, Request};
use resolver_testkit::conformance::{ResolverUnderTest, Sandboxed, Scenario};
use serde_json::{Value, json};

/// A fault and the check that must detect it.
pub struct Fault {
    pub name: &'static str,
    pub check: &'static str,
    /// Changes the inputs before the resolver reads them.
    before: Option<fn(&mut Value)>,
    /// Changes the run.
    after: Option<fn(&Call<'_>, &mut Run)>,
    /// `true` if only other hosts have the fault.
    elsewhere: bool,
}

/// A call of a faulty resolver.
pub struct Call<'a> {
    view: &'a BundleView,
    facts: &'a Facts,
    request: &'a Request,
    /// Number of calls before this one.
    count: usize,
}

/// The built-in resolver with a fault.
pub struct Faulty<'a> {
    honest: &'a Sandboxed,
    fault: &'a Fault,
    calls: AtomicUsize,
    /// The resolver on another host.
    elsewhere: Option<Box<Faulty<'a>>>,
}

impl<'a> Faulty<'a> {
    pub fn new(honest: &'a Sandboxed, fault: &'a Fault) -> Self {
        let here = |elsewhere| Self { honest, fault, calls: AtomicUsize::new(0), elsewhere };
        here(Some(Box::new(here(None))))
    }
}

#[async_trait]
impl ResolverUnderTest for Faulty<'_> {
    async fn resolve(&self, view: &BundleView, facts: &Facts, request: &Request) -> Run {
        let count = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.fault.elsewhere && self.elsewhere.is_some() {
            return self.honest.resolve(view, facts, request).await;
        }
        let changed = self.fault.before.and_then(|before| {
            let mut case = case(view, facts, request);
            before(&mut case);
            Scenario::from_json(&case).ok()
        });
        let mut run = match &changed {
            Some(changed) => self.honest.resolve(changed.view(), changed.facts(), changed.request()).await,
            None => self.honest.resolve(view, facts, request).await,
        };
        if let Some(after) = self.fault.after {
            after(&Call { view, facts, request, count }, &mut run);
        }
        run
    }

    fn on_other_hosts(&self) -> Vec<&dyn ResolverUnderTest> {
        self.elsewhere.iter().map(|host| &**host as &dyn ResolverUnderTest).collect()
    }
}

fn case(view: &BundleView, facts: &Facts, request: &Request) -> Value {
    let manifest = view.bundle().manifest();
    let bundle = json!({
        "profiles": manifest.profiles,
        "prompts": manifest.prompts.keys().collect::<Vec<_>>(),
        "tools": manifest.tools.keys().collect::<Vec<_>>(),
        "plugins": manifest.plugins.keys().collect::<Vec<_>>(),
        "workflows": manifest.workflows.keys().collect::<Vec<_>>(),
        "models": manifest.models.keys().collect::<Vec<_>>(),
    });
    json!({ "bundle": bundle, "facts": facts, "request": request })
}

/// A fault in what the resolver reads.
const fn reads(name: &'static str, check: &'static str, before: fn(&mut Value)) -> Fault {
    Fault { name, check, before: Some(before), after: None, elsewhere: false }
}

/// A fault in what the resolver answers.
const fn answers(name: &'static str, check: &'static str, after: fn(&Call<'_>, &mut Run)) -> Fault {
    Fault { name, check, before: None, after: Some(after), elsewhere: false }
}

/// Returns all faults.
pub fn all() -> Vec<Fault> {
    let mut all = Vec::new();
    all.extend(of_layers());
    all.extend(of_purity());
    all.extend(of_failures());
    all.extend(of_size());
    all
}

fn of_layers() -> Vec<Fault> {
    vec![
        reads("drops_the_last_layer", "laws/language", |case| {
            each_profile(case, |profile| {
                if let Some(layer) = profile["layers"].as_array_mut().and_then(|layers| layers.last_mut()) {
                    *layer = json!({});
                }
            });
        }),
        reads("reverses_parents", "laws/lineage", |case| {
            each_profile(case, |profile| {
                if let Some(parents) = profile["extends"].as_array_mut() {
                    parents.reverse();
                }
            });
        }),
        reads("ignores_conditions", "laws/conditions", |case| each_layer(case, |layer| layer["when"] = json!([]))),
        reads("ignores_lacks", "laws/conditions", |case| {
            each_layer(case, |layer| {
                if let Some(conditions) = layer["when"].as_array_mut() {
                    conditions.retain(|text| !text.as_str().is_some_and(|text| text.starts_with("lacks:")));
                }
            });
        }),
        reads("skips_conditional_layers", "laws/conditions", |case| {
            each_layer(case, |layer| {
                if !layer["when"].is_null() {
                    *layer = json!({});
                }
            });
        }),
        reads("append_as_replace", "laws/append", |case| each_amend(case, "append", "replace", &LISTS)),
        reads("replace_as_append", "laws/replace", |case| each_amend(case, "replace", "append", &LISTS)),
        reads("never_stops_denying", "laws/deny", |case| each_amend(case, "replace", "append", &["tools_deny"])),
        reads("prefers_the_last_model", "laws/model", |case| {
            each_layer(case, |layer| {
                for (_, names) in layer["models"].as_object_mut().into_iter().flatten() {
                    names.as_array_mut().expect("names").reverse();
                }
            });
        }),
        reads("keeps_the_first_language", "laws/language", |case| {
            each_profile(case, |profile| {
                let layers = profile["layers"].as_array_mut().into_iter().flatten();
                for layer in layers.filter(|layer| !layer["language"].is_null()).skip(1) {
                    layer["language"] = Value::Null;
                }
            });
        }),
        reads("ignores_drops", "laws/wishes", |case| each_layer(case, |layer| layer["drops"] = json!([]))),
        reads("loses_optional_wishes", "laws/wishes", |case| {
            each_layer(case, |layer| {
                if let Some(wishes) = layer["wishes"].as_array_mut() {
                    wishes.retain(|wish| wish["need"] == "required");
                }
            });
        }),
        reads("ignores_null_in_settings", "laws/settings", |case| {
            each_layer(case, |layer| remove_nulls(&mut layer["settings"]));
        }),
        answers("origin_is_the_last_writer", "laws/origins", |call, run| {
            if let Some(proposal) = resolved(run) {
                let (names, profiles) = (proposal.instructions.clone(), proposal.lineage.clone());
                for (index, name) in names.iter().enumerate() {
                    let field = format!("/instructions/{index}");
                    if let Some(last) = last_writer(call, &profiles, name) {
                        let origin = proposal.origins.iter_mut().find(|origin| origin.field == field);
                        *origin.expect("an origin") = ProposedOrigin { field, ..last };
                    }
                }
            }
        }),
        answers("forgets_an_origin", "contract/verified", |_, run| {
            if let Some(proposal) = resolved(run) {
                proposal.origins.pop();
            }
        }),
    ]
}

fn of_purity() -> Vec<Fault> {
    vec![
        answers("depends_on_call_count", "purity/repetition", |call, run| {
            if call.count % 2 == 1 {
                clear_plugins(run);
            }
        }),
        Fault {
            elsewhere: true,
            ..answers("answers_differently_on_another_host", "purity/hosts", |_, run| clear_plugins(run))
        },
        answers("uses_random_fuel", "purity/repetition", |call, run| run.cost.fuel += call.count as u64),
        answers("reads_the_names_of_secrets", "purity/unused_facts", |call, run| {
            if call.facts.secrets.iter().any(|name| name.as_str() == "deploy-key") {
                clear_plugins(run);
            }
        }),
        answers("counts_capabilities", "purity/unused_facts", |call, run| {
            if call.facts.capabilities.len() > 3 {
                clear_plugins(run);
            }
        }),
        answers("counts_profiles", "purity/unused_entries", |call, run| {
            if call.view.bundle().manifest().profiles.len() > 5 {
                clear_plugins(run);
            }
        }),
        answers("looks_up_what_it_does_not_use", "purity/look_ups", |call, run| {
            let tools = call.view.bundle().manifest().tools.keys();
            run.reads.extend(tools.map(|name| BundleRead { kind: "tool", name: name.into(), found: true }));
            run.reads.sort();
            run.reads.dedup();
        }),
        answers("sorts_instructions", "purity/names", |_, run| {
            if let Some(proposal) = resolved(run) {
                let mut sorted: Vec<(String, usize)> = proposal.instructions.drain(..).zip(0..).collect();
                sorted.sort();
                for origin in &mut proposal.origins {
                    if let Some(index) = origin.field.strip_prefix("/instructions/") {
                        let now = sorted.iter().position(|(_, before)| before.to_string() == index);
                        origin.field = format!("/instructions/{}", now.expect("an index"));
                    }
                }
                proposal.instructions = sorted.into_iter().map(|(name, _)| name).collect();
            }
        }),
    ]
}

fn of_failures() -> Vec<Fault> {
    vec![
        answers("does_not_support_drops", "laws/failures", |call, run| {
            let profiles = call.view.bundle().manifest().profiles.values();
            if profiles.flat_map(|profile| &profile.layers).any(|layer| !layer.drops.is_empty()) {
                run.answer = Ok(Err(ProposedFailure::UnsupportedDeclaration("drops".to_owned())));
            }
        }),
        answers("wrong_failure_code", "laws/failures", |call, run| {
            if let Ok(Err(failure @ ProposedFailure::UnknownProfile(_))) = &mut run.answer {
                *failure = ProposedFailure::NoModel(vec![call.request.profile().to_string()]);
            }
        }),
        answers("invented_declaration", "contract/verified", |_, run| {
            if let Ok(Err(failure)) = &mut run.answer {
                *failure = ProposedFailure::UnsupportedDeclaration("canary".to_owned());
            }
        }),
        answers("names_one_unmet_capability", "hostile/unmet_capabilities", |_, run| {
            if let Ok(Err(ProposedFailure::UnmetCapability(names))) = &mut run.answer {
                names.truncate(1);
            }
        }),
        answers("names_one_model", "hostile/no_model", |_, run| {
            if let Ok(Err(ProposedFailure::NoModel(names))) = &mut run.answer {
                names.truncate(1);
            }
        }),
        answers("guesses_the_profile", "hostile/unknown_profile", |_, run| {
            if let Ok(Err(ProposedFailure::UnknownProfile(_))) = &run.answer {
                run.answer = Ok(Ok(Proposal { settings: "{}".to_owned(), ..Proposal::default() }));
            }
        }),
    ]
}

fn of_size() -> Vec<Fault> {
    vec![
        answers("uses_too_much_fuel", "limits/fuel", |_, run| run.cost.fuel += 3_000_000_000),
        answers("uses_too_much_memory", "limits/memory", |_, run| run.cost.memory_bytes += 65 << 20),
        reads("reads_sixteen_profiles", "hostile/deep_lineage", |case| {
            each_profile(case, |profile| {
                if profile.pointer("/layers/0/settings/last") == Some(&json!(16)) {
                    profile["extends"] = json!([]);
                }
            });
        }),
        reads("reads_fifty_layers", "hostile/many_layers", |case| {
            each_profile(case, |profile| {
                for layer in profile["layers"].as_array_mut().into_iter().flatten().skip(50) {
                    *layer = json!({});
                }
            });
        }),
        reads("reads_a_hundred_names", "hostile/long_lists", |case| {
            each_layer(case, |layer| {
                if let Some(names) = layer.pointer_mut("/plugins/append").and_then(Value::as_array_mut) {
                    names.truncate(100);
                }
            });
        }),
        reads("loses_built_in_keys", "hostile/prototype_settings", |case| {
            each_layer(case, |layer| {
                if let Some(settings) = layer["settings"].as_object_mut() {
                    settings.remove("__proto__");
                }
            });
        }),
        answers("rounds_numbers", "hostile/numbers", |_, run| {
            change_settings(run, |text| text.replace("123456789.125", "123456789.1"));
        }),
        answers("normalises_unicode", "hostile/unicode_settings", |_, run| {
            change_settings(run, |text| text.replace("e\u{301}", "é"));
        }),
    ]
}

const LISTS: [&str; 3] = ["instructions", "plugins", "workflows"];

fn each_profile(case: &mut Value, change: impl Fn(&mut Value)) {
    case["bundle"]["profiles"].as_object_mut().expect("profiles").values_mut().for_each(change);
}

fn each_layer(case: &mut Value, change: impl Fn(&mut Value)) {
    each_profile(case, |profile| profile["layers"].as_array_mut().into_iter().flatten().for_each(&change));
}

/// Turns one amendment of some lists into the other.
fn each_amend(case: &mut Value, from: &str, to: &str, lists: &[&str]) {
    each_layer(case, |layer| {
        for list in lists {
            if let Some(names) = layer[list].as_object_mut().and_then(|amend| amend.remove(from)) {
                layer[list] = json!({ to: names });
            }
        }
    });
}

fn remove_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(remove_nulls);
    }
}

fn resolved(run: &mut Run) -> Option<&mut Proposal> {
    run.answer.as_mut().ok()?.as_mut().ok()
}

fn clear_plugins(run: &mut Run) {
    if let Some(proposal) = resolved(run) {
        proposal.plugins.clear();
        proposal.origins.retain(|origin| !origin.field.starts_with("/plugins/"));
    }
}

fn change_settings(run: &mut Run, change: impl Fn(&str) -> String) {
    if let Some(proposal) = resolved(run) {
        proposal.settings = change(&proposal.settings);
    }
}

/// Returns the last active layer that writes an instruction.
fn last_writer(call: &Call<'_>, lineage: &[String], name: &str) -> Option<ProposedOrigin> {
    let writes = |layer: &Layer| match &layer.instructions {
        Some(Amend::Append(names) | Amend::Replace(names)) => {
            layer.when.iter().all(|condition| call.facts.holds(condition))
                && names.iter().any(|written| written.as_str() == name)
        }
        None => false,
    };
    let profiles = &call.view.bundle().manifest().profiles;
    lineage.iter().find_map(|profile| {
        let layers: &Profile = profiles.get(profile.as_str())?;
        let layer = layers.layers.iter().rposition(writes)?;
        Some(ProposedOrigin { field: String::new(), profile: profile.clone(), layer: u32::try_from(layer).ok()? })
    })
}
