use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::Place;

/// Creates a place whose folder `minimal` is committed.
fn committed() -> Place {
    let place = Place::new();
    place.example("minimal");
    git(&place, &["init", "-q"]);
    git(&place, &["add", "."]);
    git(&place, &["commit", "-q", "-m", "first"]);
    place
}

fn git(place: &Place, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"];
    let run = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(place.path())
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+02:00")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("UTF-8").trim().to_owned()
}

fn build(place: &Place) -> (Value, i32) {
    place.json(&["bundle", "build", "minimal", "--from-git", "-o", "out.yoi"])
}

fn refused(place: &Place, code: &str, file: Option<&str>) {
    let (error, exit) = build(place);
    assert_eq!((exit, error["code"].as_str(), error["details"]["file"].as_str()), (1, Some(code), file), "{error}");
}

#[test]
fn provenance_contains_the_commit_of_the_built_folder() {
    let place = committed();
    let (built, code) = build(&place);
    assert_eq!(code, 0, "{built}");
    let (shown, _) = place.json(&["bundle", "show", "out.yoi"]);
    assert_eq!(shown["manifest"]["provenance"]["commit"].as_str(), Some(git(&place, &["rev-parse", "HEAD"]).as_str()));
    assert_eq!(shown["manifest"]["created_at"], "2026-01-02T01:04:05Z");
    // Files that a builder does not read may differ.
    place.write("minimal/README.md", "new");
    place.write("minimal/prompts/.draft.md", "new");
    assert_eq!(build(&place).1, 0);
}

#[test]
fn folder_without_a_commit_is_refused() {
    let place = Place::new();
    place.example("minimal");
    refused(&place, "no_commit", None);
    git(&place, &["init", "-q"]);
    refused(&place, "no_commit", None);
}

#[test]
fn file_that_differs_from_the_commit_is_named() {
    let place = committed();
    let prompt = place.path().join("minimal/prompts/editor.md");
    let text = std::fs::read(&prompt).expect("read");
    std::fs::remove_file(&prompt).expect("removed");
    refused(&place, "not_committed", Some("prompts/editor.md"));
    std::fs::write(&prompt, &text).expect("written");
    assert_eq!(build(&place).1, 0);
    place.write("minimal/prompts/new.md", "New.");
    refused(&place, "not_committed", Some("prompts/new.md"));
}

#[test]
fn changed_file_that_git_is_configured_to_skip_is_detected() {
    let place = committed();
    place.write(".gitignore", "*.secret.md\n");
    place.write("minimal/prompts/a.secret.md", "Ignored.");
    assert_eq!(git(&place, &["status", "--porcelain", "minimal"]), "");
    refused(&place, "not_committed", Some("prompts/a.secret.md"));

    let place = committed();
    git(&place, &["config", "status.showUntrackedFiles", "no"]);
    place.write("minimal/prompts/new.md", "New.");
    assert_eq!(git(&place, &["status", "--porcelain"]), "");
    refused(&place, "not_committed", Some("prompts/new.md"));

    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let place = committed();
        git(&place, &["update-index", flag, "minimal/prompts/editor.md"]);
        place.write("minimal/prompts/editor.md", "Another.");
        assert_eq!(git(&place, &["status", "--porcelain"]), "");
        refused(&place, "not_committed", Some("prompts/editor.md"));
    }

    // A replacement of an object: git then shows content that the commit never had.
    let place = committed();
    let blob = git(&place, &["rev-parse", "HEAD:minimal/prompts/editor.md"]);
    place.write("minimal/prompts/editor.md", "Another.");
    let other = git(&place, &["hash-object", "-w", "minimal/prompts/editor.md"]);
    git(&place, &["replace", &blob, &other]);
    assert_eq!(git(&place, &["cat-file", "blob", &blob]), "Another.");
    refused(&place, "not_committed", Some("prompts/editor.md"));
}

#[cfg(unix)]
fn planted(place: &Place, name: &str, rest: &str) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let ran = place.path().join(format!("{name}-ran"));
    let program = place.write(&format!("{name}.sh"), format!("#!/bin/sh\ntouch '{}'\n{rest}\n", ran.display()));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    (program, ran)
}

#[cfg(unix)]
#[test]
fn programs_configured_in_a_repository_are_not_run() {
    let place = committed();
    let plant = |name: &str, settings: &[&str]| {
        let (program, ran) = planted(&place, name, if name == "filter" { "cat" } else { "exit 1" });
        for setting in settings {
            git(&place, &["config", setting, program.to_str().expect("UTF-8")]);
        }
        ran
    };
    let monitor = plant("monitor", &["core.fsmonitor"]);
    let filter = plant("filter", &["filter.planted.clean", "filter.planted.smudge"]);
    let textconv = plant("textconv", &["diff.planted.textconv", "diff.planted.command"]);
    let signer = plant("signer", &["gpg.program"]);
    let fetcher = plant("fetcher", &["remote.origin.uploadpack", "core.sshCommand", "core.pager"]);
    git(&place, &["config", "log.showSignature", "true"]);
    place.write(".git/info/attributes", "* filter=planted diff=planted\n");
    let prompt = place.path().join("minimal/prompts/editor.md");
    let text = std::fs::read(&prompt).expect("read");
    // Control: `git status` does run the planted programs.
    std::fs::write(&prompt, &text).expect("written");
    git(&place, &["status", "--porcelain", "."]);
    for ran in [&monitor, &filter] {
        assert!(ran.exists(), "{}", ran.display());
        std::fs::remove_file(ran).expect("removed");
    }
    let (built, code) = build(&place);
    assert_eq!(code, 0, "{built}");

    // A commit with a missing object, in a repository that would fetch it.
    git(&place, &["config", "remote.origin.url", place.path().to_str().expect("UTF-8")]);
    git(&place, &["config", "remote.origin.promisor", "true"]);
    git(&place, &["config", "extensions.partialClone", "origin"]);
    git(&place, &["config", "core.repositoryFormatVersion", "1"]);
    git(&place, &["config", "protocol.file.allow", "always"]);
    let blob = git(&place, &["rev-parse", "HEAD:minimal/prompts/editor.md"]);
    let object = place.path().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    std::fs::remove_file(object).expect("removed");
    let fetched = Command::new("git").args(["cat-file", "blob", &blob]).current_dir(place.path()).output();
    assert!(!fetched.expect("git runs").status.success() && fetcher.exists(), "the control");
    std::fs::remove_file(&fetcher).expect("removed");
    refused(&place, "no_commit", None);
    for ran in [monitor, filter, textconv, signer, fetcher] {
        assert!(!ran.exists(), "{}", ran.display());
    }
}

#[test]
fn git_variables_of_the_environment_are_ignored() {
    let (place, other) = (committed(), committed());
    place.write("minimal/prompts/editor.md", "Another.");
    git(&place, &["commit", "-q", "-a", "-m", "second"]);
    let said = place.with_env(
        &["bundle", "build", "minimal", "--from-git", "-o", "out.yoi", "--format", "json"],
        &[
            ("GIT_DIR", other.path().join(".git").to_str().expect("UTF-8")),
            ("GIT_WORK_TREE", other.path().to_str().expect("UTF-8")),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "core.worktree"),
            ("GIT_CONFIG_VALUE_0", "/"),
        ],
    );
    assert_eq!(said.code, 0, "{}", said.stdout);
    let (shown, _) = place.json(&["bundle", "show", "out.yoi"]);
    let head = git(&place, &["rev-parse", "HEAD"]);
    assert_eq!(shown["manifest"]["provenance"]["commit"].as_str(), Some(head.as_str()));
}

#[test]
fn checkout_with_other_line_ends_is_reported_as_such() {
    let place = committed();
    let prompt = place.path().join("minimal/prompts/editor.md");
    let text = std::fs::read_to_string(&prompt).expect("read");
    std::fs::write(&prompt, text.replace('\n', "\r\n")).expect("written");
    let (error, code) = build(&place);
    assert_eq!((code, error["code"].as_str()), (1, Some("not_committed")));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("line ends")), "{error}");
    assert!(error["help"].as_str().is_some_and(|text| text.contains("core.autocrlf")), "{error}");
    std::fs::write(&prompt, text.replace('\n', "\r\n").to_uppercase()).expect("written");
    assert!(build(&place).0["message"].as_str().is_some_and(|text| !text.contains("line ends")));
    // The opposite case: committed with `\r\n` and checked out without.
    std::fs::write(&prompt, text.replace('\n', "\r\n")).expect("written");
    git(&place, &["-c", "core.autocrlf=false", "commit", "-q", "-a", "-m", "line ends"]);
    assert_eq!(build(&place).1, 0);
    std::fs::write(&prompt, &text).expect("written");
    assert!(build(&place).0["message"].as_str().is_some_and(|text| text.contains("line ends")));
}

#[test]
fn committed_byte_order_mark_is_not_a_difference() {
    let place = committed();
    let prompt = place.path().join("minimal/prompts/editor.md");
    let text = std::fs::read_to_string(&prompt).expect("read");
    std::fs::write(&prompt, format!("\u{feff}{text}")).expect("written");
    refused(&place, "not_committed", Some("prompts/editor.md"));
    git(&place, &["commit", "-q", "-a", "-m", "mark"]);
    assert_eq!(build(&place).1, 0);
}

#[cfg(unix)]
#[test]
fn repository_of_another_user_is_read_if_the_git_config_of_the_user_marks_it_safe() {
    use std::os::unix::fs::PermissionsExt;
    let place = committed();
    // A `git` for which every folder belongs to another user.
    let search = std::env::var_os("PATH").expect("PATH");
    let real =
        std::env::split_paths(&search).map(|folder| folder.join("git")).find(|path| path.is_file()).expect("git");
    let script = format!("#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec '{}' \"$@\"\n", real.display());
    let git_of_another = place.write("bin/git", script);
    std::fs::set_permissions(git_of_another, std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!("{}:{}", place.path().join("bin").display(), std::env::var("PATH").expect("PATH"));
    let home = place.path().join("home");
    std::fs::create_dir(&home).expect("made");
    let top = place.path().canonicalize().expect("a path");
    let build = |settings: &str, own: bool| {
        let file = if own { home.join(".gitconfig") } else { place.path().join(".git/config") };
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, format!("{before}{settings}")).expect("written");
        let arguments = ["bundle", "build", "minimal", "--from-git", "-o", "out.yoi", "--format", "json"];
        let said = place.with_env(&arguments, &[("PATH", &path), ("HOME", home.to_str().expect("UTF-8"))]);
        std::fs::write(&file, before).expect("written");
        (said.code, said.stdout)
    };
    let (code, said) = build("", true);
    assert!(code == 1 && said.contains("another user") && said.contains("safe.directory"), "{said}");
    assert_eq!(build(&format!("[safe]\n\tdirectory = {}\n", top.display()), true).0, 0);
    assert_eq!(build("[safe]\n\tdirectory = *\n", true).0, 0);
    assert_eq!(build("[safe]\n\tdirectory = /elsewhere\n", true).0, 1);
    // As in git, an empty value removes the earlier ones.
    assert_eq!(build("[safe]\n\tdirectory = *\n\tdirectory =\n", true).0, 1);
    // The config of the repository itself has no effect.
    assert_eq!(build("[safe]\n\tdirectory = *\n", false).0, 1);
}
