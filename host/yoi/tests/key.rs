use crate::support::{Place, snapshot};

#[test]
fn new_key_file_is_private_and_its_key_is_never_printed() {
    let place = Place::new();
    let said = place.yoi(&["key", "new", "--out", "mine.key"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let file = std::fs::read_to_string(place.path().join("mine.key")).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(place.path().join("mine.key")).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
    let secret = file.trim_end().rsplit(':').next().expect("base64").to_owned();
    let (shown, _) = place.json(&["key", "show", "mine.key"]);
    let debug = format!("{}{}{shown}{}", said.stdout, said.stderr, place.yoi(&["key", "show", "mine.key"]).stdout);
    for at in 0..secret.len() - 6 {
        assert!(!debug.contains(&secret[at..at + 6]), "{debug}");
    }
    assert!(said.stdout.contains(shown["public_key"].as_str().expect("a key")));
    snapshot!("key_new", said.stdout);
}

#[test]
fn existing_key_file_is_not_overwritten() {
    let place = Place::new();
    assert_eq!(place.yoi(&["key", "new"]).code, 0);
    let before = std::fs::read(place.path().join("signing.key")).expect("written");
    let (error, code) = place.json(&["key", "new"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("already_there")));
    assert_eq!(std::fs::read(place.path().join("signing.key")).expect("there"), before);
    #[cfg(unix)]
    {
        // A symbolic link without a target is not followed either.
        std::os::unix::fs::symlink("elsewhere", place.path().join("link")).expect("a link");
        let (error, _) = place.json(&["key", "new", "--out", "link"]);
        assert_eq!(error["code"].as_str(), Some("already_there"));
        assert!(!place.path().join("elsewhere").exists());
    }
    let names: Vec<_> =
        std::fs::read_dir(place.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with(".yoi-")), "{names:?}");
    let (error, code) = place.json(&["key", "new", "--out", "no/such/folder.key"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("unwritable")));
    let (one, _) = place.json(&["key", "new", "--out", "one.key"]);
    let (two, _) = place.json(&["key", "new", "--out", "two.key"]);
    assert_ne!(one["key_id"], two["key_id"]);
}

#[test]
fn a_key_is_shown_from_either_of_its_files() {
    let place = Place::new();
    let (new, _) = place.json(&["key", "new", "--out", "mine.key"]);
    let public = new["public_key"].as_str().expect("a key").to_owned();
    place.write("mine.pub", format!("{public}\n"));
    for (key, kind) in [("mine.key", "signing"), ("mine.pub", "public"), (public.as_str(), "public")] {
        let (shown, code) = place.json(&["key", "show", key]);
        assert_eq!((code, shown["kind"].as_str()), (0, Some(kind)), "{shown}");
        assert_eq!((&shown["public_key"], &shown["key_id"]), (&new["public_key"], &new["key_id"]));
    }
    snapshot!("key_show", place.yoi(&["key", "show", "mine.key"]).stdout);
    let (_, json) = (0, place.yoi(&["key", "show", "mine.pub", "--format", "json"]).stdout);
    snapshot!("key_show_json", json);
}

#[test]
fn invalid_key_is_refused_and_not_repeated() {
    let place = Place::new();
    assert_eq!(place.yoi(&["key", "new", "--out", "mine.key"]).code, 0);
    let file = std::fs::read_to_string(place.path().join("mine.key")).expect("written");
    let secret = file.trim_end().rsplit(':').next().expect("base64");
    let weak = format!("ed25519:{}=", "A".repeat(43));
    let mut said = String::new();
    for (name, text) in [
        ("broken.key", file.replace("=\n", "\n")),
        ("twice.key", file.repeat(2)),
        ("long.key", file.repeat(20)),
        ("weak.pub", weak),
        ("empty", String::new()),
    ] {
        place.write(name, text);
        let shown = place.yoi(&["key", "show", name]);
        assert_eq!((shown.code, shown.stdout.as_str()), (3, ""), "{name}");
        said.push_str(&format!("$ yoi key show {name}\n{}\n", shown.stderr));
    }
    for key in ["ed25519:AAAA", "no-such-file"] {
        said.push_str(&format!("$ yoi key show {key}\n{}\n", place.yoi(&["key", "show", key]).stderr));
    }
    assert!(!said.contains(&secret[..12]), "{said}");
    snapshot!("key_mistakes", said);
}

#[test]
fn byte_order_mark_and_line_ends_around_a_key_are_ignored() {
    let place = Place::new();
    let (new, _) = place.json(&["key", "new", "--out", "mine.key"]);
    let public = new["public_key"].as_str().expect("a key").to_owned();
    for text in [public.clone(), format!("{public}\n"), format!("{public}\r\n"), format!("\u{feff}{public}\r\n")] {
        place.write("mine.pub", &text);
        let (shown, code) = place.json(&["key", "show", "mine.pub"]);
        assert_eq!((code, &shown["key_id"]), (0, &new["key_id"]), "{text:?}: {shown}");
    }
    let wide: Vec<u8> = format!("\u{feff}{public}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("wide.pub", wide);
    let (error, code) = place.json(&["key", "show", "wide.pub"]);
    assert!(code == 3 && error["message"].as_str().is_some_and(|text| text.contains("UTF-16")), "{error}");
}
