use std::fs;

use serde_json::json;

use crate::support::Place;

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::process::Command;

    use super::*;

    #[test]
    fn fifo_is_written_to_and_not_replaced() {
        let place = Place::new();
        place.example("minimal");
        let fifo = place.path().join("out");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
        fs::create_dir(place.path().join("links")).expect("made");
        // A symbolic link to a FIFO, like `/dev/stdout`.
        std::os::unix::fs::symlink(&fifo, place.path().join("links/out")).expect("linked");
        let commands: [&[&str]; 3] = [
            &["bundle", "build", "minimal", "-o", "out"],
            &["bundle", "build", "minimal", "-o", "links/out"],
            &["resolve", "builtin", "-p", "coder", "--record", "out"],
        ];
        for arguments in commands {
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::read(fifo).expect("read")
            });
            let said = place.yoi(arguments);
            assert_eq!(said.code, 0, "{}", said.stderr);
            assert!(reader.join().expect("read").len() > 100);
            assert!(fs::symlink_metadata(&fifo).expect("there").file_type().is_fifo());
        }
        assert!(fs::symlink_metadata(place.path().join("links/out")).expect("there").is_symlink());
    }

    #[test]
    fn link_and_folder_are_not_replaced() {
        let place = Place::new();
        place.example("minimal");
        place.write("target", "kept");
        fs::create_dir(place.path().join("folder")).expect("made");
        for (link, to) in [("to-file", "target"), ("to-nothing", "nothing"), ("to-folder", "folder")] {
            std::os::unix::fs::symlink(to, place.path().join(link)).expect("linked");
        }
        for name in ["to-file", "to-nothing", "to-folder", "folder"] {
            let (error, code) = place.json(&["bundle", "build", "minimal", "-o", name]);
            assert_eq!((code, error["code"].as_str()), (1, Some("unwritable")), "{name}: {error}");
        }
        assert_eq!(fs::read(place.path().join("target")).expect("read"), b"kept");
        assert!(fs::symlink_metadata(place.path().join("to-file")).expect("there").is_symlink());
        assert!(!place.path().join("nothing").exists());
    }

    #[test]
    fn replaced_file_keeps_its_mode() {
        let place = Place::new();
        place.example("minimal");
        let mode = |name: &str| fs::metadata(place.path().join(name)).expect("there").permissions().mode() & 0o7777;
        for wanted in [0o600, 0o664, 0o755] {
            for name in ["minimal/bundle.toml", "out.yoi"] {
                if name == "out.yoi" {
                    place.write(name, "old");
                }
                let permissions = fs::Permissions::from_mode(wanted);
                fs::set_permissions(place.path().join(name), permissions).expect("set");
            }
            assert_eq!(place.yoi(&["bundle", "bump", "minimal"]).code, 0);
            assert_eq!(place.yoi(&["bundle", "build", "minimal", "-o", "out.yoi"]).code, 0);
            assert_eq!((mode("minimal/bundle.toml"), mode("out.yoi")), (wanted, wanted));
        }
    }

    #[test]
    fn a_result_that_cannot_be_written_is_a_failure() {
        let place = Place::new();
        let commands: [&[&str]; 4] = [
            &["bundle", "show", "builtin"],
            &["bundle", "show", "builtin", "--format", "json"],
            &["resolve", "builtin", "-p", "nobody", "--format", "json"],
            &["--help"],
        ];
        for arguments in commands {
            let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
            let said = Place::said(place.command().args(arguments).stdout(full));
            assert_eq!(said.code, 1, "{arguments:?}");
            assert!(said.stderr.contains("error[unwritable]: cannot write the result"), "{}", said.stderr);
        }
    }

    #[test]
    fn closed_output_pipe_is_not_a_failure() {
        let place = Place::new();
        let shell = format!("{} bundle check builtin --rules; echo $? >code", env!("CARGO_BIN_EXE_yoi"));
        let script = format!("({shell}) | true");
        let done = Command::new("sh").args(["-c", &script]).current_dir(place.path()).status();
        assert!(done.expect("sh runs").success());
        assert_eq!(fs::read_to_string(place.path().join("code")).expect("written").trim(), "0");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn file_with_a_name_that_is_not_unicode_is_opened_and_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    let (folder, file) = (OsStr::from_bytes(b"fol\xffder"), OsStr::from_bytes(b"o\xfeut.yoi"));
    let run = |arguments: &[&OsStr]| {
        let said = Place::said(place.command().args(arguments).args(["--format", "json"]));
        let value: serde_json::Value = serde_json::from_str(&said.stdout).expect("one document");
        (value, said.code)
    };
    let word = OsStr::new;
    let (new, code) = run(&[word("bundle"), word("new"), folder]);
    assert_eq!((code, new["folder"].as_str()), (0, Some("fol\u{fffd}der")), "{new}");
    let (built, code) = run(&[word("bundle"), word("build"), folder, word("-o"), file]);
    assert_eq!((code, built["path"].as_str()), (0, Some("o\u{fffd}ut.yoi")), "{built}");
    for bundle in [folder, file] {
        for command in [
            vec![word("bundle"), word("check"), bundle],
            vec![word("bundle"), word("show"), bundle],
            vec![word("bundle"), word("diff"), bundle, file],
            vec![word("resolve"), bundle, word("-p"), word("assistant")],
            vec![word("resolver"), word("run"), word("builtin"), word("-p"), word("assistant"), word("-b"), bundle],
        ] {
            let (value, code) = run(&command);
            assert_eq!(code, 0, "{command:?}: {value}");
        }
    }
    let (error, code) = run(&[word("bundle"), word("new"), folder]);
    assert_eq!((code, error["code"].as_str()), (1, Some("already_there")), "{error}");
}

#[test]
fn bump_changes_two_values_and_no_other_byte() {
    let place = Place::new();
    place.example("minimal");
    let path = place.path().join("minimal/bundle.toml");
    let text = fs::read_to_string(&path).expect("read").replace("\r\n", "\n");
    let time = text.lines().find_map(|line| line.strip_prefix("created_at = \"")).expect("a time");
    let time = time.split('"').next().expect("a time");
    for newline in ["\n", "\r\n"] {
        let written = format!("# first\t \n{text}\n\n# last, without an end").replace('\n', newline);
        fs::write(&path, &written).expect("written");
        let (bump, code) = place.json(&["bundle", "bump", "minimal", "--created-at", "2031-01-02T03:04:05Z"]);
        assert_eq!((code, &bump["revision"]), (0, &json!("2")));
        let bumped = fs::read_to_string(&path).expect("read");
        let wanted = written.replacen("revision = 1", "revision = 2", 1).replacen(time, "2031-01-02T03:04:05Z", 1);
        assert_eq!(bumped, wanted);
    }
}

#[test]
fn bump_to_an_earlier_time_is_refused() {
    let place = Place::new();
    place.example("minimal");
    let path = place.path().join("minimal/bundle.toml");
    let before = fs::read(&path).expect("read");
    let (error, code) = place.json(&["bundle", "bump", "minimal", "--created-at", "2001-01-01T00:00:00Z"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("earlier_time")), "{error}");
    assert_eq!(fs::read(&path).expect("read"), before);
    let text = String::from_utf8(before).expect("UTF-8");
    let same = text.split("created_at = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a time");
    assert_eq!(place.json(&["bundle", "bump", "minimal", "--created-at", same]).1, 0);
}
