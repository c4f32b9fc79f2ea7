//! `yoi bundle diff --impact`.

use serde_json::{Value, json};

use crate::support::{Place, snapshot};

/// A bundle, a changed copy of it, and the records of its profiles with the old bundle.
fn two_bundles() -> Place {
    let place = Place::new();
    for folder in ["one", "two"] {
        let place_of = place.example("minimal");
        std::fs::rename(place_of, place.path().join(folder)).expect("renamed");
    }
    let profile = place.path().join("two/profiles/editor.toml");
    let text = std::fs::read_to_string(&profile).expect("read");
    std::fs::write(profile, text.replace("tone = \"exact\"", "tone = \"kind\"")).expect("written");
    std::fs::create_dir(place.path().join("records")).expect("made");
    for profile in ["assistant", "editor"] {
        record(&place, "one", profile, &format!("records/{profile}.json"));
    }
    place
}

fn record(place: &Place, bundle: &str, profile: &str, file: &str) {
    assert_eq!(place.yoi(&["resolve", bundle, "--profile", profile, "--record", file]).code, 0);
}

fn outcomes(diff: &Value) -> Vec<(&str, &str)> {
    let workers = diff["impact"]["workers"].as_array().expect("workers").iter();
    let texts = workers.map(|worker| (worker["worker"].as_str(), worker["outcome"].as_str()));
    texts.map(|(worker, outcome)| (worker.expect("a name"), outcome.expect("an outcome"))).collect()
}

#[test]
fn impact_names_changed_and_unchanged_profiles_and_workers() {
    let place = two_bundles();
    let diff = ["bundle", "diff", "one", "two", "--impact", "--records", "records"];
    snapshot!("bundle_diff_impact", place.yoi(&diff).stdout);
    snapshot!("bundle_diff_impact_json", place.yoi(&[&diff[..], &["--format", "json"]].concat()).stdout);
    let (diff, _) = place.json(&diff);
    // The records save the resolution of the unchanged profile and the old resolution of the changed one, twice.
    assert_eq!((&diff["impact"]["computed"], &diff["impact"]["compared"]), (&json!(2), &json!(8)));
}

#[test]
fn impact_without_records_finds_the_same_profiles() {
    let place = two_bundles();
    let with = place.json(&["bundle", "diff", "one", "two", "--impact", "--records", "records"]).0;
    let without = place.json(&["bundle", "diff", "one", "two", "--impact"]).0;
    let plain = place.json(&["bundle", "diff", "one", "two"]).0;
    for field in ["profiles", "values", "changes"] {
        assert_eq!((&with[field], &without[field]), (&plain[field], &plain[field]));
    }
    assert_eq!(with["impact"]["unchanged"], without["impact"]["unchanged"]);
    assert_eq!((&without["impact"]["computed"], &without["impact"]["workers"]), (&json!(3), &json!([])));
    assert!(plain.get("impact").is_none());
}

#[test]
fn profile_that_fails_with_both_bundles_is_not_called_unchanged() {
    let place = two_bundles();
    let facts = json!({ "os": "linux", "arch": "x86_64", "capabilities": ["models"], "models": ["large"] });
    place.write("facts.json", facts.to_string());
    let diff = ["bundle", "diff", "one", "two", "--facts", "facts.json"];
    let (found, code) = place.json(&[&diff[..], &["--impact"]].concat());
    let failing = json!({ "assistant": "no_model", "editor": "no_model" });
    assert_eq!((code, &found["failing"], &found["impact"]["unchanged"]), (0, &failing, &json!([])), "{found}");
    snapshot!("bundle_diff_failing", place.yoi(&diff).stdout);
}

#[test]
fn records_of_other_bundles_are_listed_and_not_compared() {
    let place = two_bundles();
    record(&place, "two", "editor", "records/new.json");
    let (diff, code) = place.json(&["bundle", "diff", "one", "two", "--impact", "--records", "records"]);
    assert_eq!(code, 0, "{diff}");
    let expected = [("assistant.json", "unchanged"), ("editor.json", "differs"), ("new.json", "other_bundle")];
    assert_eq!(outcomes(&diff), expected);
    place.write("records/notes.txt", "not a record");
    let (error, code) = place.json(&["bundle", "diff", "one", "two", "--impact", "--records", "records"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_json")), "{error}");
}

#[cfg(unix)]
#[test]
fn records_of_running_workers_are_read_from_a_data_folder() {
    use crate::runtime::{ServiceProcess, set_up};

    let place = Place::new();
    let token = set_up(&place);
    let bundle = |revision: u32| {
        format!(
            "schema = \"yoi.config-bundle/1\"\nrevision = {revision}\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
             language = \"en\"\n[workspace]\nid = \"acme\"\n"
        )
    };
    for (folder, turns) in [("one", 1), ("two", 2)] {
        place.write(&format!("{folder}/bundle.toml"), bundle(turns));
        place.write(&format!("{folder}/profiles/changed.toml"), format!("[settings]\nturns = {turns}\n"));
        place.write(&format!("{folder}/profiles/same.toml"), "[settings]\nturns = 1\n");
    }
    let service = ServiceProcess::start(&place, "runtime.toml");
    let url = service.url();
    let create = |id, profile| ["worker", "create", id, "-p", profile, "-b", "newest"];
    let commands: [&[&str]; 5] = [
        &["runtime", "put", "one"],
        &create("changed-worker", "changed"),
        &create("same-worker", "same"),
        &create("stopped-worker", "changed"),
        &["worker", "stop", "stopped-worker"],
    ];
    for arguments in commands {
        let (told, code) = place.json_with(arguments, &[("YOI_URL", url.as_str()), ("YOI_TOKEN", token.as_str())]);
        assert_eq!(code, 0, "{told}");
    }
    assert_eq!(service.stop(), Some(0));
    let (diff, code) = place.json(&["bundle", "diff", "one", "two", "--impact", "--records", "yoi-data"]);
    assert_eq!(code, 0, "{diff}");
    assert_eq!(outcomes(&diff), [("changed-worker", "differs"), ("same-worker", "unchanged")]);
}
