//! Runs the bodies of the fuzz targets on thousands of generated inputs, which are the same in every run.

use yoi_tests::fuzz::mutate::{Numbers, mutated};
use yoi_tests::fuzz::{Body, folder_as_input, folder_of, seeds, targets};

/// Runs a body on its seeds and on this number of mutated seeds.
fn run(name: &str, cases: u64) {
    let (_, body, seeds): (_, Body, Vec<Vec<u8>>) =
        targets().into_iter().find(|(target, ..)| *target == name).expect("a target");
    for seed in &seeds {
        body(seed);
        for cut in [0, 1, seed.len() / 2, seed.len().saturating_sub(1)] {
            body(&seed[..cut]);
        }
    }
    for case in 0..cases {
        let mut numbers = Numbers::new(case + 1);
        let seed = &seeds[numbers.below(seeds.len())];
        let input = mutated(seed, &seeds, &mut numbers);
        let outcome = std::panic::catch_unwind(|| body(&input));
        assert!(outcome.is_ok(), "case {case} of `{name}` fails: {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn any_bytes_are_a_manifest_or_a_typed_error() {
    run("manifest", 10_000);
}

#[test]
fn any_bytes_are_an_envelope_or_a_key_or_a_typed_error() {
    run("signature", 5000);
}

#[test]
fn any_folder_is_a_bundle_or_a_reported_error() {
    run("toml_front", 5000);
}

#[test]
fn any_text_is_a_selector_or_an_error_with_help() {
    run("selector", 10_000);
}

#[test]
fn any_text_is_a_canonical_reference_or_an_error() {
    run("refs", 2000);
}

#[test]
fn any_bytes_are_a_component_within_its_budget_or_refused() {
    run("component", 30_000);
}

#[test]
fn any_bytes_are_a_plugin_package_or_a_typed_error() {
    run("plugin", 2000);
}

#[test]
fn seeds_are_valid_and_reach_their_targets() {
    for (name, body, seeds) in targets() {
        assert!(seeds.len() >= 2, "{name}");
        seeds.iter().for_each(|seed| body(seed));
    }
    assert_eq!(folder_of(&folder_as_input(&seeds::folder())), seeds::folder());
    let opened =
        |bytes: &[u8]| bundles::open_manifest(bytes, &Default::default(), bundles::Acceptances::Honour).is_ok();
    let unpacked =
        |bytes: &[u8]| bundles::archive::unpack(bytes, &Default::default(), bundles::Acceptances::Honour).is_ok();
    let seeds = seeds::manifests();
    assert!(opened(&seeds[0]) && opened(&seeds[1]) && seeds[2..5].iter().all(|seed| unpacked(seed)));
    let packages = seeds::plugins();
    assert!(packages[..2].iter().all(|seed| bundles::plugin::Package::open(seed.clone(), &Default::default()).is_ok()));
    let component = &seeds::components()[0];
    assert!(component_host::structure::check(component, &Default::default()).is_ok());
}
