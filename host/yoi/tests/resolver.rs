use serde_json::{Value, json};

use crate::support::{Place, example, snapshot};

#[test]
fn inspect_shows_a_component_without_running_it() {
    let place = Place::new();
    let (shown, code) = place.json(&["resolver", "inspect", "builtin"]);
    assert_eq!(
        (code, &shown["admitted"], shown["world"].as_str()),
        (0, &json!(true), Some("yoi:runtime/resolver@1.0.0"))
    );
    assert_eq!(
        shown["digest"].as_str(),
        Some(bundles::Digest::of(worker_runtime::shipped::RESOLVER).to_string().as_str())
    );
    let names = |list: &Value| {
        list.as_array()
            .expect("a list")
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&shown["imports"]), ["yoi:resolver/types@1.0.0", "yoi:resolver/bundle@1.0.0"]);
    assert_eq!(names(&shown["exports"]), ["yoi:resolver/resolve@1.0.0"]);
    assert!(shown["counts"]["functions"].as_u64().is_some_and(|count| count > 0));
}

#[test]
fn inspect_refuses_a_file_that_is_not_a_component() {
    let place = Place::new();
    for (name, content, word) in [
        ("text.wat", b"(component)".as_slice(), "wasm_text"),
        ("empty", b"", "not_wasm"),
        ("other", b"hello", "not_wasm"),
    ] {
        let path = place.write(name, content);
        let (error, code) = place.json(&["resolver", "inspect", path.to_str().expect("UTF-8")]);
        assert_eq!((code, error["code"].as_str()), (3, Some(word)));
    }
}

#[test]
fn inspect_of_a_component_that_would_be_refused_shows_it_and_fails() {
    let place = Place::new();
    // An empty component.
    place.write("nothing.wasm", b"\0asm\x0d\0\x01\0");
    let (shown, code) = place.json(&["resolver", "inspect", "nothing.wasm"]);
    assert_eq!((code, &shown["admitted"], shown["code"].as_str()), (3, &json!(false), Some("missing_export")));
    let said = place.yoi(&["resolver", "inspect", "nothing.wasm"]);
    assert!(
        said.code == 3 && said.stdout.contains("would be refused: the component does not export"),
        "{}",
        said.stdout
    );
    let (shown, code) = place.json(&["resolver", "inspect", "builtin"]);
    assert_eq!((code, &shown["code"]), (0, &Value::Null));
}

#[test]
fn component_above_a_limit_is_refused_with_the_name_and_value_of_the_limit() {
    let place = Place::new();
    place.write("limits.toml", "[structure]\nbytes = 10\n");
    for bytes in [11, 12, 5000] {
        place.write("large.wasm", vec![0; bytes]);
        let run = ["resolver", "run", "large.wasm", "-b", "builtin", "-p", "coder", "--limits", "limits.toml"];
        let (error, code) = place.json(&run);
        assert_eq!((code, error["code"].as_str()), (3, Some("too_large")), "{error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.ends_with("exceeds limit `bytes` (10 bytes allowed)"), "{message}");
        assert_eq!(error["details"], json!({ "limit": "bytes", "allowed": 10 }));
    }
}

/// Limits the address space so that the program starts and an instance does not.
#[cfg(target_os = "linux")]
#[test]
fn lack_of_address_space_is_not_an_error_of_the_component() {
    let place = Place::new();
    for (cached, code) in [(&[][..], 0), (&["--no-cache"][..], 0), (&[][..], 1), (&["--no-cache"][..], 1)] {
        let limit = if code == 0 { "unlimited" } else { "3145728" };
        let arguments = ["resolver", "run", "builtin", "-b", "builtin", "-p", "coder", "--format", "json"];
        let yoi = place.command();
        let mut limited = std::process::Command::new("sh");
        limited.current_dir(place.path()).arg("-c").arg(format!("ulimit -v {limit} && exec \"$0\" \"$@\""));
        limited.arg(yoi.get_program()).args(arguments).args(cached);
        limited.env_clear().envs(yoi.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = Place::said(&mut limited);
        let run: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(said.code, code, "{run}");
        if code == 1 {
            assert_eq!(run["code"].as_str(), Some("sandbox_unavailable"), "{run}");
            assert!(run["help"].as_str().is_some_and(|help| help.contains("ulimit -v")), "{run}");
        }
    }
}

#[test]
fn run_reports_how_a_component_ended() {
    let place = Place::new();
    let (run, code) = place.json(&["resolver", "run", "builtin", "--bundle", "builtin", "--profile", "coder"]);
    assert_eq!((code, run["outcome"].as_str()), (0, Some("resolved")));
    assert!(run["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && run["memory_bytes"].as_u64().is_some());
    snapshot!(
        "resolver_run",
        place.yoi(&["resolver", "run", "builtin", "--bundle", "builtin", "--profile", "nobody"]).stdout
    );
    let (run, code) = place.json(&["resolver", "run", "builtin", "--bundle", "builtin", "--profile", "nobody"]);
    assert_eq!((code, run["outcome"].as_str(), run["code"].as_str()), (5, Some("failed"), Some("unknown_profile")));
}

#[test]
fn a_limit_is_set_by_name_and_named_by_the_error() {
    let place = Place::new();
    for (limits, limit, outcome) in [
        ("[resolution]\nfuel = 100\n", "fuel", "limit"),
        ("[resolution]\nmemory_bytes = 65536\n", "memory_bytes", "limit"),
        ("[resolution]\nlookups = 1\n", "lookups", "limit"),
        ("[resolution]\nhostcall_bytes = 64\n", "hostcall_bytes", "limit"),
        ("[structure]\nfunctions = 3\n", "functions", "refused_load"),
        ("[compile]\ncompiled_bytes = 100\n", "compiled_bytes", "refused_load"),
    ] {
        let path = place.write("limits.toml", limits);
        let arguments = [
            "resolver",
            "run",
            "builtin",
            "-b",
            "builtin",
            "-p",
            "coder",
            "--no-cache",
            "--limits",
            path.to_str().expect("UTF-8"),
        ];
        let (run, _) = place.json(&arguments);
        assert_eq!((run["outcome"].as_str(), run["limit"].as_str()), (Some(outcome), Some(limit)), "{run}");
    }
    let path = place.write("limits.toml", "[resolution]\nfule = 1\n");
    let (error, code) = place.json(&[
        "resolver",
        "run",
        "builtin",
        "-b",
        "builtin",
        "-p",
        "coder",
        "--limits",
        path.to_str().expect("UTF-8"),
    ]);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_limits")));
}

#[test]
fn inspect_applies_the_given_limits() {
    let place = Place::new();
    let path = place.write("limits.toml", "[structure]\nfunctions = 1\n");
    let inspect = ["resolver", "inspect", "builtin", "--limits", path.to_str().expect("UTF-8")];
    let (shown, code) = place.json(&inspect);
    assert_eq!((code, &shown["admitted"], shown["code"].as_str()), (3, &json!(false), Some("over_budget")), "{shown}");
    assert!(shown["refusal"].as_str().is_some_and(|told| told.contains("`functions`")), "{shown}");
    place.write("limits.toml", "[structure]\nfunctions = 50_000\n");
    let (shown, code) = place.json(&inspect);
    assert_eq!((code, &shown["admitted"]), (0, &json!(true)), "{shown}");
    place.write("limits.toml", "[structure]\nfunctions = 0\n");
    let (error, code) = place.json(&inspect);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_limits")));
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("line 2") && message.contains("invalid limit `functions`: expected a whole"), "{message}");
}

#[test]
fn a_damaged_cache_entry_is_compiled_again_and_never_run() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let arguments = ["resolve", "builtin", "-p", "coder", "--cache-dir", cache.to_str().expect("UTF-8")];
    let (first, code) = place.json(&arguments);
    assert_eq!(code, 0);
    let entry = || {
        let entries = std::fs::read_dir(&cache).expect("a cache").map(|entry| entry.expect("an entry").path());
        entries
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
            .expect("an entry")
    };
    let good = std::fs::read(entry()).expect("read");
    for index in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[index] ^= 0x40;
        std::fs::write(entry(), bad).expect("written");
        let (again, code) = place.json(&arguments);
        assert_eq!((code, &again["digests"]), (0, &first["digests"]));
        assert_eq!(std::fs::read(entry()).expect("read").len(), good.len());
    }
}

/// Returns the names of all limits, with their section.
fn names(limits: &Value) -> Vec<String> {
    let sections = limits.as_object().expect("sections").iter();
    let names = sections.flat_map(|(section, limits)| {
        limits.as_object().expect("limits").keys().map(move |name| format!("{section}.{name}"))
    });
    names.collect()
}

#[test]
fn the_file_of_limits_names_every_limit_with_its_default() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.toml");
    let text = std::fs::read_to_string(path).expect("read");
    let limits = component_host::Limits::from_toml(&text).expect("limits");
    assert_eq!(limits, component_host::Limits::default());
    let written: toml_edit::DocumentMut = text.parse().expect("TOML");
    let mut written: Vec<String> = written
        .iter()
        .flat_map(|(section, limits)| {
            limits.as_table().expect("a table").iter().map(move |(name, _)| format!("{section}.{name}"))
        })
        .collect();
    let mut known = names(&serde_json::to_value(&limits).expect("JSON"));
    written.sort();
    known.sort();
    assert_eq!(written, known);
    // A comment above each limit states its reason.
    let lines: Vec<&str> = text.lines().collect();
    for (line, above) in lines.iter().skip(1).zip(&lines) {
        assert!(!line.contains(" = ") || line.starts_with('#') || above.starts_with("# "), "{line} has no reason");
    }
}

#[test]
fn inspect_names_each_count_like_its_limit() {
    let place = Place::new();
    let shown = place.yoi(&["resolver", "inspect", "builtin"]).stdout;
    let counts = shown.split("counts").nth(1).expect("counts");
    for name in names(&serde_json::to_value(component_host::Limits::default()).expect("JSON")) {
        if let Some(name) = name.strip_prefix("structure.") {
            let counted = counts.lines().filter_map(|line| line.trim().split_once(' '));
            assert!(counted.into_iter().any(|(shown, _)| shown == name), "{name}: {shown}");
        }
    }
}

#[test]
fn limit_above_the_capacity_of_the_engine_is_refused_and_every_command_accepts_limits() {
    let place = Place::new();
    place.write("limits.toml", "[resolution]\n\ntables = 33\n");
    let run = ["resolver", "run", "builtin", "-b", "builtin", "-p", "coder", "--limits", "limits.toml"];
    let (error, code) = place.json(&run);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_limits")));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("line 3") && message.contains("32")));
    // Each command that can report a limit can set it.
    place.write("limits.toml", "[bundle]\nprofiles = 1\n[resolution]\nfuel = 100\n");
    place.example("minimal");
    let commands: [&[&str]; 6] = [
        &["bundle", "check", "minimal"],
        &["bundle", "show", "minimal"],
        &["bundle", "build", "minimal"],
        &["bundle", "diff", "minimal", "minimal"],
        &["resolve", "minimal", "-p", "assistant"],
        &["resolver", "run", "builtin", "-b", "minimal", "-p", "assistant"],
    ];
    for command in commands {
        let (error, code) = place.json(&[command, &["--limits", "limits.toml"]].concat());
        assert_eq!((code, error["code"].as_str()), (3, Some("too_large")), "{command:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("`profiles`")), "{error}");
    }
    let (error, code) = place.json(&["resolve", "builtin", "-p", "coder", "--limits", "limits.toml"]);
    assert_eq!((code, error["details"]["limit"].as_str()), (6, Some("fuel")), "{error}");
}

#[test]
fn cache_path_that_is_not_a_folder_is_reported() {
    let place = Place::new();
    place.write("file", "no folder");
    let said = place.yoi(&["resolve", "builtin", "-p", "coder", "--cache-dir", "file"]);
    assert_eq!(said.code, 0);
    assert!(said.stderr.contains("the path of the compile cache is not a folder"), "{}", said.stderr);
}

#[test]
fn a_recorded_failure_is_repeated_and_compared() {
    let place = Place::new();
    let resolve = |more: &[&str]| {
        place.json(&[&["resolve", "builtin", "-p", "nobody", "--record", "failed.json"], more].concat())
    };
    let (error, code) = resolve(&[]);
    assert_eq!((code, error["code"].as_str()), (5, Some("unknown_profile")));
    let replay = |more: &[&str]| {
        let (told, code) = place.json(&[&["resolver", "replay", "failed.json"], more].concat());
        (told["records"][0]["outcome"].as_str().unwrap_or_default().to_owned(), code)
    };
    assert_eq!(replay(&[]), ("identical".to_owned(), 0));
    let foreign = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/quickjs/resolver.wasm");
    assert_eq!(replay(&["--resolver", foreign]), ("same_failure".to_owned(), 0));

    // A resolution that fails with another error, and one that does not fail any more.
    let text = std::fs::read_to_string(place.path().join("failed.json")).expect("a record");
    place.write("failed.json", text.replace("\"unknown_profile\"", "\"no_model\""));
    assert_eq!(replay(&[]), ("fails".to_owned(), 3));
    place.write("failed.json", text.replace("\"profile\":\"nobody\"", "\"profile\":\"coder\""));
    assert_eq!(replay(&[]), ("differs".to_owned(), 3));
}

#[test]
fn replayed_resolution_is_identical_byte_for_byte() {
    let place = Place::new();
    let (acme, builtin) = (example("acme"), "builtin".to_owned());
    let record = |bundle: &str, profile: &str, name: &str| {
        let said = place.yoi(&["resolve", bundle, "--profile", profile, "--record", name]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    };
    record(&acme, "backend-dev", "one.json");
    record(&builtin, "builtin:coder", "two.json");
    let (told, code) = place.json(&["resolver", "replay", "one.json", "two.json", "--bundle", &acme]);
    assert_eq!((code, &told["same"]), (0, &json!(true)), "{told}");
    let outcomes: Vec<&str> =
        told["records"].as_array().expect("records").iter().filter_map(|one| one["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["identical", "identical"]);
    let (error, code) = place.json(&["resolver", "replay", "one.json"]);
    assert_eq!((error["code"].as_str(), code), (Some("blob_not_found"), 5));

    // Another resolver that gives the same answers.
    let foreign = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/quickjs/resolver.wasm");
    let (told, code) = place.json(&["resolver", "replay", "two.json", "--resolver", foreign]);
    assert_eq!((code, &told["records"][0]["outcome"]), (0, &json!("same_resolution")), "{told}");
    assert_eq!(told["records"][0]["differs"], json!(["/digests/resolver", "/fuel", "/memory_bytes"]));

    // Changed records and a file that is not a record.
    let text = std::fs::read_to_string(place.path().join("one.json")).expect("a record");
    let fuel = text.split("\"fuel\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("fuel");
    place.write("fuel.json", text.replace(&format!("\"fuel\":\"{fuel}\""), "\"fuel\":\"1\""));
    let (told, _) = place.json(&["resolver", "replay", "fuel.json", "--bundle", &acme]);
    assert_eq!(
        (&told["records"][0]["outcome"], &told["records"][0]["differs"]),
        (&json!("same_resolution"), &json!(["/fuel"]))
    );
    place
        .write("facts.json", text.replacen("\"capabilities\":[", "\"capabilities\":[\"bogus\",", 1).replace(",]", "]"));
    let (told, code) = place.json(&["resolver", "replay", "facts.json", "--bundle", &acme]);
    assert_eq!((&told["same"], code), (&json!(false), 3), "{told}");
    place.write("none.json", "{}");
    // A record of version 1 has neither read set nor peak memory. Its replay writes version 1 too.
    let mut first: Value =
        serde_json::from_slice(&std::fs::read(place.path().join("two.json")).expect("read")).expect("JSON");
    let fields = first.as_object_mut().expect("an object");
    assert!(fields.remove("reads").is_some_and(|reads| !reads["found"].as_array().expect("names").is_empty()));
    assert!(fields.remove("memory_bytes").is_some());
    fields.insert("schema".to_owned(), json!("yoi.resolution-record/1"));
    place.write("first.json", bundles::canonical::to_canonical(&first).expect("JSON"));
    let (told, code) = place.json(&["resolver", "replay", "first.json", "--bundle", &acme]);
    assert_eq!((code, &told["records"][0]["outcome"]), (0, &json!("identical")), "{told}");
    let (error, code) = place.json(&["resolver", "replay", "none.json"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_field")), "{error}");
    let said = place.yoi(&["resolver", "replay", "two.json", "facts.json", "--bundle", &acme]);
    snapshot!("resolver_replay", format!("{}{}[{}]", said.stdout, said.stderr, said.code));
}
