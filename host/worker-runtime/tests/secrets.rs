//! Tests of secrets in files: they are read when they are used, and only if they are private.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bundles::SecretRef;
use secrecy::{ExposeSecret, SecretString};
use worker_runtime::secret::{MAX_SECRET_BYTES, SecretDirectory, SecretError, SecretSource};

use crate::support::name;

const VALUE: &str = "canary-value-5d1c";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("canary-place").tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    fn private(&self) -> SecretDirectory {
        SecretDirectory::open(&self.path()).expect("a folder of secrets")
    }

    /// Writes a file, as an operator would.
    fn write(&self, file: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, content).expect("written");
        set_mode(&path, mode);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

fn secret(value: &str) -> SecretString {
    SecretString::from(value.to_owned())
}

async fn get(directory: &SecretDirectory, of: &str) -> Result<String, SecretError> {
    let value = tokio::time::timeout(Duration::from_secs(10), directory.get(&name(of))).await.expect("no wait")?;
    assert!(!format!("{value:?}{directory:?}").contains("canary"));
    Ok(value.expose_secret().to_owned())
}

async fn code(directory: &SecretDirectory, of: &str) -> &'static str {
    let error = get(directory, of).await.expect_err("refused");
    assert!(!format!("{error} {error:?} {}", error.help()).contains("canary"), "{error}");
    error.code().as_str()
}

#[tokio::test]
async fn secret_file_is_private_and_its_value_is_read_unchanged() {
    let place = Place::new();
    let secrets = place.private();
    assert_eq!(mode(&place.path()), 0o700);
    let token: SecretRef = name("token");
    for (value, is_new) in
        [(VALUE, true), ("another", false), ("line\n", false), ("dos\r\n", false), ("\n", false), ("ä", false)]
    {
        assert_eq!(secrets.set(&token, &secret(value)).expect("set"), is_new);
        assert_eq!(get(&secrets, "token").await.as_deref(), Ok(value));
        assert_eq!(mode(&place.path().join("token")), 0o600);
    }
    assert_eq!(secrets.list().expect("names"), std::slice::from_ref(&token));
    secrets.remove(&token).expect("removed");
    assert_eq!(code(&secrets, "token").await, "secret_not_found");
    assert_eq!(secrets.remove(&token).expect_err("gone").code(), "secret_not_found");
    assert_eq!(std::fs::read_dir(place.path()).expect("read").count(), 0);
}

#[tokio::test]
async fn a_value_has_size_limits_when_it_is_set_and_when_it_is_read() {
    let place = Place::new();
    let secrets = place.private();
    let most = "x".repeat(MAX_SECRET_BYTES);
    for (value, usable) in [("", false), (most.as_str(), true), (&format!("{most}x"), false)] {
        let set = secrets.set(&name("set"), &secret(value));
        assert_eq!(set.is_ok(), usable, "{}", value.len());
        assert!(set.is_ok() || set.is_err_and(|error| error.code() == "secret_unusable"));
        place.write("found", value, 0o600);
        assert_eq!(get(&secrets, "found").await.is_ok(), usable, "{}", value.len());
    }
    for (content, value) in [
        ("value\n", Some("value")),
        ("value\r\n", Some("value")),
        ("value\n\n", Some("value\n")),
        (&format!("{most}\r\n"), Some(most.as_str())),
        ("\n", None),
        ("\r\n", None),
        (&format!("{most}\n\n"), None),
    ] {
        place.write("found", content, 0o600);
        assert_eq!(get(&secrets, "found").await.ok().as_deref(), value);
    }
    place.write("found", b"caf\xe9", 0o600);
    assert_eq!(code(&secrets, "found").await, "secret_unusable");
}

#[tokio::test]
async fn a_new_value_is_used_at_the_next_read() {
    let place = Place::new();
    let secrets = place.private();
    secrets.set(&name("token"), &secret("one")).expect("set");
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok("one"));
    place.write("token", "two", 0o600);
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok("two"));
    // Also if the folder itself is replaced.
    std::fs::rename(place.path(), place.folder.path().join("old")).expect("moved");
    assert_eq!(code(&secrets, "token").await, "secret_unavailable");
    place.private().set(&name("token"), &secret("three")).expect("set");
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok("three"));
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    let place = Place::new();
    let secrets = place.private();
    for (bits, private) in
        [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o660, false), (0o644, false)]
    {
        place.write("token", VALUE, bits);
        let got = get(&secrets, "token").await;
        assert_eq!(got.is_ok(), private, "{bits:o}");
        assert!(private || code(&secrets, "token").await == "secret_not_private");
    }
    let path = place.write("token", VALUE, 0o600);
    // Only root may change the owner of a file.
    if chown(&path, Some(1000), None).is_ok() {
        assert_eq!(code(&secrets, "token").await, "secret_not_private");
        chown(&path, Some(0), None).expect("taken back");
    }
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok(VALUE));
    let outside = place.folder.path().join("outside");
    std::fs::write(&outside, VALUE).expect("written");
    set_mode(&outside, 0o600);
    symlink("token", place.path().join("inside-link")).expect("a link");
    symlink(&outside, place.path().join("outside-link")).expect("a link");
    for link in ["inside-link", "outside-link"] {
        assert_eq!(code(&secrets, link).await, "secret_not_private");
    }
    assert_eq!(secrets.list().expect("names"), [name::<SecretRef>("token")]);
    // Setting a secret replaces the link and does not change its target.
    secrets.set(&name("outside-link"), &secret("mine")).expect("set");
    assert_eq!(get(&secrets, "outside-link").await.as_deref(), Ok("mine"));
    assert_eq!(std::fs::read_to_string(outside).expect("read"), VALUE);
}

#[tokio::test]
async fn an_entry_that_is_not_a_file_is_refused_without_blocking() {
    let place = Place::new();
    let secrets = place.private();
    let fifo = place.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::from_raw_mode(0o600)).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).expect("a socket");
    std::fs::create_dir(place.path().join("folder")).expect("made");
    for odd in ["fifo", "socket", "folder"] {
        assert_eq!(code(&secrets, odd).await, "secret_unusable", "{odd}");
    }
    place.write("NOT_A_NAME", VALUE, 0o600);
    assert!(secrets.list().expect("names").is_empty());
    assert_eq!(secrets.remove(&name("folder")).expect_err("no secret").code(), "secrets_unavailable");
    assert_eq!(secrets.set(&name("folder"), &secret("x")).expect_err("in the way").code(), "secrets_unavailable");
    assert_eq!(std::fs::read_dir(place.path()).expect("read").count(), 4, "nothing unfinished is left");
}

#[tokio::test]
async fn a_folder_that_others_may_enter_is_refused() {
    let place = Place::new();
    let secrets = place.private();
    secrets.set(&name("token"), &secret(VALUE)).expect("set");
    let refused = |path: &Path| {
        let error = SecretDirectory::open(path).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        error.code()
    };
    for bits in [0o750, 0o705, 0o711, 0o777] {
        set_mode(&place.path(), bits);
        assert_eq!(refused(&place.path()), "secrets_not_private", "{bits:o}");
        assert_eq!(code(&secrets, "token").await, "secret_not_private");
        assert_eq!(secrets.list().expect_err("refused").code(), "secrets_not_private");
        assert!(secrets.set(&name("token"), &secret("x")).is_err() && secrets.remove(&name("token")).is_err());
    }
    set_mode(&place.path(), 0o700);
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok(VALUE));
    if chown(place.path(), Some(1000), None).is_ok() {
        assert_eq!(refused(&place.path()), "secrets_not_private");
        chown(place.path(), Some(0), None).expect("taken back");
    }
    symlink(place.path(), place.folder.path().join("link")).expect("a link");
    assert_eq!(refused(&place.folder.path().join("link")), "secrets_not_a_folder");
    let file = place.folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    assert_eq!(refused(&file), "secrets_not_a_folder");
    assert_eq!(refused(&file.join("below")), "secrets_not_a_folder");
    assert_eq!(SecretDirectory::open(&place.folder.path().join("a/b/c")).map(|_| ()), Ok(()));
    assert_eq!(mode(&place.folder.path().join("a/b/c")), 0o700);
}

#[tokio::test]
async fn credentials_are_read_in_the_layouts_of_service_managers() {
    let place = Place::new();
    // Kubernetes: links into a folder that is replaced as a whole. Its access is controlled by the mount.
    place.write("..2026_11_20/token", VALUE, 0o644);
    place.write("..2026_11_21/token", "rotated", 0o440);
    set_mode(&place.path(), 0o1777);
    symlink("..2026_11_20", place.path().join("..data")).expect("a link");
    symlink("..data/token", place.path().join("token")).expect("a link");
    // systemd: files with access for their owner only.
    place.write("plain", "value\n", 0o400);
    let secrets = SecretDirectory::credentials(&place.path()).expect("credentials");
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok(VALUE));
    assert_eq!(get(&secrets, "plain").await.as_deref(), Ok("value"));
    assert_eq!(secrets.list().expect("names"), [name::<SecretRef>("plain"), name("token")]);
    symlink("..2026_11_21", place.path().join("..data_tmp")).expect("a link");
    std::fs::rename(place.path().join("..data_tmp"), place.path().join("..data")).expect("exchanged");
    assert_eq!(get(&secrets, "token").await.as_deref(), Ok("rotated"));
    // Links out of the folder and files that others can change are refused.
    let outside = place.folder.path().join("outside");
    std::fs::write(&outside, VALUE).expect("written");
    for (to, link) in [("../outside", "up"), (outside.to_str().expect("UTF-8"), "absolute"), ("loop", "loop")] {
        symlink(to, place.path().join(link)).expect("a link");
        assert_eq!(code(&secrets, link).await, "secret_not_private", "{link}");
    }
    for bits in [0o660, 0o602] {
        place.write("plain", VALUE, bits);
        assert_eq!(code(&secrets, "plain").await, "secret_not_private", "{bits:o}");
    }
    let path = place.write("plain", VALUE, 0o444);
    if chown(&path, Some(1000), None).is_ok() {
        assert_eq!(code(&secrets, "plain").await, "secret_not_private");
    }
    assert_eq!(code(&secrets, "nothing").await, "secret_not_found");
    for error in [
        secrets.set(&name("token"), &secret("x")).expect_err("kept"),
        secrets.remove(&name("token")).expect_err("kept"),
    ] {
        assert_eq!(error.code(), "secrets_read_only");
    }
    let missing = SecretDirectory::credentials(&place.folder.path().join("nothing")).expect_err("not made");
    assert_eq!(missing.code(), "secrets_unavailable");
}

#[test]
fn concurrent_reader_gets_the_old_or_the_new_value() {
    let place = Place::new();
    let secrets = Arc::new(place.private());
    let (one, two) = ("1".repeat(60_000), "2".repeat(50_000));
    secrets.set(&name("token"), &secret(&one)).expect("set");
    let writers: Vec<_> = [one.clone(), two.clone()]
        .map(|value| {
            let secrets = secrets.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    secrets.set(&name("token"), &secret(&value)).expect("set");
                }
            })
        })
        .into_iter()
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    while writers.iter().any(|writer| !writer.is_finished()) {
        let value = runtime.block_on(get(&secrets, "token")).expect("a value");
        assert!(value == one || value == two);
    }
    for writer in writers {
        writer.join().expect("ended");
    }
    assert_eq!(secrets.list().expect("names").len(), 1);
    assert_eq!(std::fs::read_dir(place.path()).expect("read").count(), 1);
}
