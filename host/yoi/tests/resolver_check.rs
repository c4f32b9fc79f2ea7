use std::path::Path;

use serde_json::{Value, json};

use crate::hostile;
use crate::root;
use crate::support::{Place, examples, snapshot};

/// Writes a hostile component and returns its file name.
fn component(place: &Place, name: &str) -> String {
    let all = hostile::all();
    let found = all.iter().find(|hostile| hostile.name == name).expect("a component");
    let file = format!("{name}.wasm");
    place.write(&file, &found.bytes);
    file
}

/// Returns the names of the checks with a result.
fn names<'a>(report: &'a Value, verdict: &str) -> Vec<&'a str> {
    let checks = report["checks"].as_array().expect("checks").iter();
    checks.filter(|check| check["verdict"] == verdict).map(|check| check["name"].as_str().expect("a name")).collect()
}

#[test]
fn built_in_resolver_passes_and_the_report_names_every_check() {
    let place = Place::new();
    let check = ["resolver", "check", "builtin", "--generated", "8"];
    let (report, code) = place.json(&check);
    assert_eq!((code, &report["passed"], &report["seed"]), (0, &json!(true), &json!("1")), "{report}");
    let passed = names(&report, "passed");
    assert!(passed.len() >= 50 && passed.contains(&"laws/append"), "{passed:?}");
    let said = place.yoi(&check);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    snapshot!("resolver_check", said.stdout);
}

#[test]
fn faulty_component_exits_with_6_and_is_shown_with_the_smallest_case() {
    let place = Place::new();
    let file = component(&place, "honest");
    let (report, code) = place.json(&["resolver", "check", &file, "--generated", "4"]);
    assert_eq!((code, &report["passed"]), (6, &json!(false)));
    assert!(names(&report, "failed").contains(&"contract/verified"), "{report}");
    let said = place.yoi(&["resolver", "check", &file, "--generated", "4", "--only", "hostile/empty_profile"]);
    assert_eq!(said.code, 6, "{}", said.stderr);
    snapshot!("resolver_check_failed", said.stdout);
    let refused = component(&place, "import_clock");
    let said = place.yoi(&["resolver", "check", &refused, "--only", "contract/"]);
    assert_eq!(said.code, 6, "{}", said.stderr);
    snapshot!("resolver_check_refused", said.stdout);
}

#[test]
fn check_without_a_component_or_with_an_unknown_check_is_an_error_of_the_caller() {
    let place = Place::new();
    let (error, code) = place.json(&["resolver", "check", "builtin", "--only", "laws/none"]);
    assert_eq!((code, &error["code"]), (2, &json!("usage")), "{error}");
    let (error, code) = place.json(&["resolver", "check", "nothing.wasm"]);
    assert_eq!((code, &error["code"]), (5, &json!("not_found")), "{error}");
}

#[test]
fn bench_of_the_built_in_resolver_has_the_ratio_1() {
    let place = Place::new();
    let (document, code) = place.json(&["resolver", "bench", "builtin", "--repetitions", "1"]);
    assert_eq!(code, 0, "{document}");
    let workloads = document["workloads"].as_array().expect("workloads");
    assert_eq!(workloads.iter().map(|one| &one["workload"]).collect::<Vec<_>>(), ["case corpus", "large bundle"]);
    for workload in workloads {
        assert_eq!((&workload["ratios"]["fuel"], &workload["ratios"]["memory"]), (&json!(1.0), &json!(1.0)));
        assert!(workload["ratios"]["time"].as_f64().is_some_and(|ratio| ratio > 0.0), "{workload}");
    }
    let foreign = root().join("tests/guests/quickjs/resolver.wasm");
    let said = place.yoi(&["resolver", "bench", foreign.to_str().expect("UTF-8"), "--repetitions", "1"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let fuel = said.stdout.lines().filter(|line| line.contains("fuel") && line.contains(" times the built-in")).count();
    assert_eq!(fuel, 2, "{}", said.stdout);
}

#[test]
fn new_writes_a_resolver_with_the_contract_and_without_blanks() {
    let place = Place::new();
    for language in ["rust", "js", "python"] {
        let folder = format!("my-{language}");
        let said = place.yoi(&["resolver", "new", language, &folder]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        for folder in [place.path().join(&folder), place.path().join(&folder).join("src")] {
            for file in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|file| file.path().is_file()) {
                let text = std::fs::read_to_string(file.path()).expect("text");
                let has_blank = ["{crate}", "{crate-name}"].iter().any(|blank| text.contains(blank));
                // The folder belongs to no repository, so nothing in it names one.
                assert!(!has_blank && !text.contains("../") && text.ends_with('\n'), "{text}");
            }
        }
        let contract = "wit/deps/yoi-resolver@1.0.0/resolver.wit";
        let written = std::fs::read(place.path().join(&folder).join(contract)).expect("read");
        assert!(written == std::fs::read(examples().join("../..").join(contract)).expect("read"));
    }
    snapshot!("resolver_new", place.yoi(&["resolver", "new", "js", "mine"]).stdout);
    let (refused, code) = place.json(&["resolver", "new", "js", "mine"]);
    assert_eq!((code, &refused["code"]), (1, &json!("already_there")));
    let (refused, code) = place.json(&["resolver", "new", "js", "Bad_Name"]);
    assert_eq!((code, &refused["code"]), (2, &json!("usage")));
}

/// The templates are built by `tests/guests/plugins/build`, with the commands of their READMEs.
#[test]
fn template_of_each_language_passes_check_once_it_is_built() {
    let place = Place::new();
    for language in ["rust", "js", "python"] {
        let component = root().join(format!("target/plugins/resolver-{language}/component.wasm"));
        if !Path::new(&component).is_file() {
            assert!(std::env::var_os("CI").is_none(), "the resolver in {language} is not built");
            eprintln!("skipped: the resolver in {language} is not built; run `tests/guests/plugins/build`");
            continue;
        }
        let component = component.to_str().expect("UTF-8");
        let (report, code) = place.json(&["resolver", "check", component, "--generated", "12"]);
        assert_eq!(code, 0, "{language}: {report}");
    }
}
