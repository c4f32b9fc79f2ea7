use crate::support::{Place, snapshot};

#[test]
fn demo_shows_every_step() {
    let said = Place::new().yoi(&["demo"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.lines().count() <= 40, "a person reads this");
    for shouted in ["DIFFERENT", "TAKEN", "ANOTHER"] {
        assert!(!said.stdout.contains(shouted), "{}", said.stdout);
    }
    snapshot!("demo", said.stdout);
}

#[test]
fn demo_in_json_is_one_document() {
    let (demo, code) = Place::new().json(&["demo"]);
    assert_eq!((code, &demo["reproducible"]), (0, &serde_json::json!(true)));
}

#[test]
fn demo_of_a_fleet_publishes_repairs_and_rolls_back() {
    let place = Place::new();
    let (demo, code) = place.json(&["demo", "--fleet"]);
    assert_eq!((code, &demo["rolled_back"]), (0, &serde_json::json!(true)), "{demo}");
    assert!(demo["page"].as_str().is_some_and(|page| page.contains("/login/")), "{demo}");
    let said = place.yoi(&["demo", "--fleet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("pushed: refused [no_signature_posture]"), "{}", said.stdout);
}
