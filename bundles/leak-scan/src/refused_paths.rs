//! Host paths, sockets and addresses that must be refused outside prose, and those that must be refused in prose too.

use crate::{Kind, Place, scan};

/// Refused in fields.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    // Absolute.
    "/Users/alice/project", "/root/.bashrc", "/var/lib/yoi/state.db", "/tmp/x", "/opt/yoi/bin", "/nix/store/abc-hello/bin/hello", "/mnt/data", "/srv/www", "/private/var/folders/x",
    "/sys/class/net", "/run/user/1000", "/boot/grub", "/lib/x86_64-linux-gnu", "/snap/bin", "/Applications/X.app", "/Library/Preferences", "/System/Library", "/data/models/x", "/workspace/src/lib.rs",
    "/home", "/etc", "/tmp", "/tmp/", "/home/", "//home/alice", "/home//alice", "/./home/alice", "/home/./alice", "/home/alice/../bob", "/workspace/../etc", "/a/b/c", "/etc/passwd:ro", "'/home/alice'",
    "\"/home/alice\"", "(/home/alice)", "[/home/alice]", "x=/home/alice", "see /home/alice.", "/home/アリス/x", "/home/alice/my project", "/proc/1/root", "/dev/sda1", "/usr", "//server/share/x",
    // Homes.
    "~", "~/", "~/.ssh/id_ed25519", "~alice", "~alice/x", "~root/x", "~+/x", "~\\Documents", "$HOME", "${HOME}", "${HOME}/x", "$HOME/x", "%USERPROFILE%\\x", "%userprofile%", "%APPDATA%", "%LOCALAPPDATA%\\yoi", "%TEMP%",
    "$XDG_CONFIG_HOME/yoi", "${XDG_RUNTIME_DIR}", "$TMPDIR/x", "${TMPDIR:-/tmp}/x", "$env:APPDATA\\x", "${env:HOME}/x", "$env:LOCALAPPDATA", "$PWD/x", "$(pwd)/x", "{{home}}", "{{ home }}/x", "{{ env.HOME }}", "{{env \"HOME\"}}/x",
    "{home}/x", "<home>/x", "${userHome}/x", "${HOME:?}/x", "$ENV{HOME}/x", "%HOMEDRIVE%%HOMEPATH%", "%ProgramData%\\x", "%SystemRoot%\\System32", "%h/yoi", "%t/yoi.sock", "$USERPROFILE", "file://~/x", "~/Library/Caches",
    // Windows.
    "C:\\Users\\alice", "C:/Users/alice", "c:\\", "D:\\work", "C:\\\\Users\\\\alice", "\\\\server\\share", "\\\\?\\C:\\x", "\\\\.\\pipe\\x", "\\\\?\\UNC\\server\\share", "//?/C:/x", "//./pipe/x", "\\\\wsl$\\Ubuntu\\home", "\\\\wsl.localhost\\Ubuntu\\home",
    "C:repo", "D:work\\src", "c:src/lib", "x=C:repo", "\"C:repo\"", "E:repo.git", "`pwd`/x", "cat `pwd`/x/y", "`realpath .`/x", "`git rev-parse --show-toplevel`/x",
    "/mnt/c/Users/alice", "\\Users\\alice", "\\Program Files\\X", "/c:/Users/alice", "C:\\Program Files\\x", "x=C:\\Users", "\"C:\\Users\\alice\"", "Z:\\share", "C:/", "/cygdrive/c/x", "file:C:\\x", "C:..\\x", "\\\\10.0.0.4\\share",
    // Outside the workspace.
    "..", "../", "../x", "../../x", "x/..", "x/../..", "x/../../y", "./../x", "..\\x", "..\\..\\x", "x\\..\\..\\y", "../\\x", "..\\/x", "/..", "\"../x\"", "src/../../x", ".../../x", "..//x", "..;/x", "./..",
    // State of tools.
    ".git/config", "repo/.git/HEAD", ".git", ".ssh/id_rsa", ".ssh", ".aws/credentials", ".config/yoi/config.toml", ".docker/config.json", ".kube/config", ".yoi/sessions", ".cache/yoi", "x/.cache", ".gnupg/x", ".local/share/x", ".netrc", ".azure/x", ".yoi", ".git\\config",
    // Sockets.
    "/run/docker.sock", "docker.sock", "unix:///var/run/docker.sock", "unix:/run/x", "unix:x.sock", "unix:@abstract", "unix:\0abstract", "UNIX:///x", "unix-abstract:x/y/@z", "npipe:////./pipe/x", "npipe://x", "vsock://2:1024", "vsock:2:1024",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1", "ws+unix:///tmp/x.sock", "yoi.sock", "agent.sock:ro", "x/y.sock", "pod.socket", "systemd.socket", "DOCKER_HOST=tcp://1.2.3.4:2375", "DOCKER_HOST=unix:///x", "SSH_AUTH_SOCK=x", "ipc:///tmp/x", "fd://3",
    // Addresses.
    "http://localhost:7878", "http://127.0.0.1:7878", "https://localhost", "http://0.0.0.0:80", "http://192.168.1.10:7878", "http://172.16.3.4:7878/v1", "http://169.254.169.254/latest/meta-data", "http://[fe80::1]:7878", "http://[::ffff:127.0.0.1]:7878",
    "http://2130706433:7878", "http://0x7f000001:7878", "http://0x7f.1:7878", "http://0177.0.0.1", "http://127.1:80", "ws://localhost:7878/ws", "wss://127.0.0.1:7878", "tcp://127.0.0.1:2375", "grpc://localhost:50051", "ssh://10.0.0.4", "localhost:7878", "LOCALHOST:7878", "[::1]:7878",
    "10.0.0.4:7878", "192.168.0.1:22", "0.0.0.0:8080", "runtime.local:7878", "http://runtime.internal:7878", "http://host.docker.internal:7878", "http://runtime:7878", "http://box.lan", "127.0.0.1", "localhost", "::1", "http://user@127.0.0.1:7878/", "http://localhost.:7878", "endpoint=http://127.0.0.1:7878",
    "http://100.64.0.1:7878", "http://[fd12::1]:7878", "redis://127.0.0.1:6379", "http://127.0.0.1.:7878", "http://０x7f000001:7878", "udp://239.0.0.1:5000 via 10.0.0.1:5000", "http:\\\\127.0.0.1:7878", "http://[::]:7878", "http://①②⑦.0.0.1:80",
    // File URLs.
    "file:///etc/passwd", "file:/etc/passwd", "file://localhost/etc/passwd", "file:///C:/x", "FILE:///x", "file://server/share", "File:../x", "file:./x", "git+file:///srv/x", "jar:file:/x.jar!/y", "path:/home/alice", "path:../x", "path:~/x", "file:%2fetc", "sqlite:///home/alice/x.db",
    "svn+file:///x", "vscode://file/home/alice/x", "vscode-remote://wsl+Ubuntu/home/alice", "local:/home/x",
    // Encodings.
    "%2fhome%2falice", "%2Fetc%2Fpasswd", "%252e%252e%252f", "..%2f..%2fx", "..%5cx", "%2e%2e/x", "..%c0%afx", "%c0%ae%c0%ae/x", "..%e0%80%afx", "%7e/x", "%7E%2Fx", "\\u002fhome\\u002falice", "\\u002e\\u002e/x", "\\x2fhome\\x2falice", "&#47;home&#47;alice", "&#x2f;etc/passwd", "..&sol;x",
    "\u{ff0f}home\u{ff0f}alice", "\u{2215}home\u{2215}alice", "\u{ff0e}\u{ff0e}/x", "\u{2025}/x", "\u{2024}\u{2024}/x", "..\u{ff0f}x", "C\u{ff1a}\u{ff3c}Users", "C:\u{2216}Users", "/h\u{200b}ome/alice", "/home\u{feff}/alice", "/ho\u{ad}me/alice", ".\u{200d}./x", "~\u{200b}/x", "\u{202e}/etc/passwd", "\u{2066}/home/x\u{2069}",
    "/home/\0/x", "../\0x", "/\u{ff48}\u{ff4f}\u{ff4d}\u{ff45}/x", "\u{ff5e}/x", "\u{ff04}HOME", "/hоme/alice", "~%2fx", "file%3a///etc/passwd", "\\/home\\/alice", "/%68ome/alice", "L2hvbWUvYWxpY2UvcHJvamVjdA==", "2f686f6d652f616c6963652f70726f6a656374",
    // Inside other texts.
    "mount=/home/alice", "--root=/srv/x", "-v /a/b:/c", "-v ./x:/home/y", "PATH=/usr/bin:/bin", "a:/home/x", "{\"cwd\":\"/home/alice\"}", "{'cwd': '/home/alice'}", "cwd: /home/alice", "[\"/etc\", \"/var\"]", "x;/etc/passwd", "x,/etc/passwd", "<path>/home/alice</path>", "cat </etc/passwd", "cat>/tmp/x", "!/home/x", "@/tmp/x",
    "LD_LIBRARY_PATH=/opt/x/lib", "cd /srv && ls", "`/usr/bin/env`", "C:\\a;D:\\b", "host=/run/postgresql", "見て/home/alice/x", "workspace:///home/alice", "docker run -v /var/run:/x",
];

/// Refused in prose too.
#[rustfmt::skip]
const PROSE: &[&str] = &[
    "Your session log is ~/.yoi/sessions/01J.jsonl", "Read /home/alice/notes.md first.", "Write temporary files to /tmp/work.", "See /etc/passwd.", "Use C:\\Users\\alice\\x.", "It is in $HOME/x.", "It is in ${HOME}.", "Look at %APPDATA%\\x.",
    "The binary is /usr/local/bin/yoi", "Open file:///home/alice/x.", "/Users/alice/x", "Connect to unix:///run/yoi.sock.", "Copy to \\\\server\\share.", "Ask http://127.0.0.1:7878/v1.", "Ask 10.0.0.4:7878.", "Read ../../etc/passwd.", "The store is /nix/store/x", "in (/var/log/x)",
    "`/home/alice`: mine", "/proc/self/environ", "DOCKER_HOST=unix:///x", "/ho\u{200b}me/alice", "%2fhome%2falice%2fx", "/mnt/c/Users", "Ｃ：＼Users＼alice", "/private/tmp/x", "/Volumes/Work/x", "/root/x", "/opt/x", "/dev/shm/x", "/run/user/1000",
];

fn missed(place: Place, texts: &[&str]) -> Vec<String> {
    let is_refused = |text: &str| scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::HostPath);
    texts.iter().filter(|text| !is_refused(text)).map(|text| format!("{text:?}")).collect()
}

#[test]
fn every_spelling_of_a_host_path_is_refused_in_a_field() {
    let missed = missed(Place::Text, FIELDS);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_path_below_a_known_root_is_refused_in_prose() {
    let missed = missed(Place::Prompt, PROSE);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn path_is_refused_as_a_key_too() {
    #[rustfmt::skip]
    let keys = [
        ".aws/credentials", ".ssh/config", ".ssh", "x/.kube/config", ".netrc", "../sibling", "../../x", "..", "a/..", "~", "~/x", "~alice/x",
        "~root", "//server/share", "/home/alice", "/etc/passwd", "C:repo", "D:work\\src", "C:\\x", "\\\\server\\share", "$HOME/x", "`pwd`/x",
        "..%2fx", "%7e/x", "\u{ff0e}\u{ff0e}/x", "~\u{200b}/x",
    ];
    let missed = missed(Place::ObjectKey, &keys);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
