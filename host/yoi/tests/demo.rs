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
