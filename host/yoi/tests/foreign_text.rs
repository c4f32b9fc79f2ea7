use crate::support::{Place, example};

/// Characters that a terminal interprets, or that change the order of the text.
pub(crate) const MOVING: [&str; 6] = ["\u{1b}[2J", "\u{9b}2J", "\u{85}", "\u{202e}", "\u{2066}", "\u{2028}"];

pub(crate) fn is_harmless(text: &str) -> bool {
    let allowed = |c: char| c == '\n' || !c.is_control();
    let reorders = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().all(|c| allowed(c) && !reorders(c))
}

/// Returns the text as a TOML string with escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<String>())
}

#[test]
fn control_characters_of_a_setting_are_shown_escaped() {
    let place = Place::new();
    for moving in MOVING {
        place.example("minimal");
        let value = format!("a{moving}\nmodel  forged{moving}");
        let profile = format!("[settings]\n\"note\" = {}\n", quoted(&value));
        place.write("minimal/profiles/forger.toml", profile);
        let commands: [&[&str]; 4] = [
            &["resolve", "minimal", "-p", "forger", "--explain"],
            &["resolve", "minimal", "-p", "forger", "--explain", "settings.note"],
            &["bundle", "show", "minimal", "-p", "forger"],
            &["resolver", "run", "builtin", "-b", "minimal", "-p", "forger"],
        ];
        for arguments in commands {
            let said = place.yoi(arguments);
            assert_eq!(said.code, 0, "{}", said.stderr);
            assert!(is_harmless(&said.stdout), "{arguments:?}: {:?}", said.stdout);
            assert!(!said.stdout.lines().any(|line| line.starts_with("model  forged")), "{}", said.stdout);
        }
        let said = place.yoi(&["resolve", "minimal", "-p", "forger", "--format", "json"]);
        assert!(is_harmless(&said.stdout), "{:?}", said.stdout);
        let report: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(report["settings"]["note"], value, "an escape means the same");
    }
}

#[test]
fn a_key_or_a_text_that_is_not_one_plain_line_is_refused() {
    for moving in MOVING.into_iter().chain(["\n", "\t"]) {
        let text = quoted(&format!("a{moving}b"));
        for (file, written) in [
            ("profiles/forger.toml", format!("[settings]\n{text} = 1\n")),
            ("profiles/forger.toml", format!("[settings]\na = [{{ b = {{ {text} = 1 }} }}]\n")),
            ("profiles/forger.toml", format!("description = {text}\n")),
        ] {
            let place = Place::new();
            place.example("minimal");
            place.write(&format!("minimal/{file}"), written);
            let (error, code) = place.json(&["bundle", "check", "minimal"]);
            assert_eq!((code, error["code"].as_str()), (3, Some("control_character")), "{error}");
            assert_eq!(error["details"]["diagnostics"][0]["file"], file);
            assert!(is_harmless(&place.yoi(&["bundle", "check", "minimal"]).stderr));
        }
    }
    let place = Place::new();
    place.example("minimal");
    // Letters of any script pass, including their marks and joiners.
    let profile = "description = \"\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{200f}, \u{645}\u{6cc}\u{200c}\u{62e}, e\u{301}\"\n[settings]\n\"\u{4e2d}\" = 1\n";
    place.write("minimal/profiles/plain.toml", profile);
    assert_eq!(place.json(&["bundle", "check", "minimal"]).1, 0);
}

#[test]
fn control_characters_of_a_quoted_line_are_not_shown() {
    for moving in MOVING {
        let place = Place::new();
        place.example("minimal");
        place.write("minimal/profiles/broken.toml", format!("instruction = [\"a{moving}\"] # {moving}\n"));
        let said = place.yoi(&["bundle", "check", "minimal"]);
        assert_eq!(said.code, 3);
        assert!(is_harmless(&said.stderr), "{:?}", said.stderr);
    }
}

#[test]
fn output_for_the_examples_contains_no_escapes() {
    let place = Place::new();
    for bundle in [example("acme"), example("minimal"), "builtin".to_owned()] {
        let said = place.yoi(&["bundle", "show", &bundle]);
        assert!(said.code == 0 && !said.stdout.contains("\\u{"), "{}", said.stdout);
    }
}
