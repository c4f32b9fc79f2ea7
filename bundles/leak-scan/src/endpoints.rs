//! Addresses that are meaningful on one host or network only: sockets, `file:` URLs, and loopback and private addresses
//! with a port.
//!
//! Hosts are classified by spelling (see `locality`) and never resolved. The permission check judges what a public name
//! resolves to when a connection is opened.

use std::ops::Range;

use crate::ascii::{at, before, is_quote, is_space, is_word, part, run_end, run_start};
use crate::findings::Findings;
use crate::locality::Locality;
use crate::{LeakRule, Place};

static FILE_URL: LeakRule = LeakRule::host_path("host_path.file_url", "file URL");
static SOCKET: LeakRule = LeakRule::host_path("host_path.socket", "socket or pipe of a host");
static ENDPOINT: LeakRule = LeakRule::host_path("host_path.endpoint", "address within a host or a private network");

/// Rules of this module.
pub(crate) static RULES: &[&LeakRule] = &[&FILE_URL, &SOCKET, &ENDPOINT];

/// Schemes whose host is a machine. In other schemes (`workflow://release`) the host is a name defined by the bundle.
#[rustfmt::skip]
const NETWORK_SCHEMES: &[&str] = &[
    "amqp", "amqps", "ftp", "ftps", "git", "grpc", "grpcs", "h2c", "http", "https", "kafka", "ldap", "ldaps", "mongodb",
    "mqtt", "mqtts", "mysql", "nats", "postgres", "postgresql", "quic", "redis", "rediss", "rtsp", "sftp", "smtp", "smtps",
    "socks4", "socks5", "socks5h", "ssh", "tcp", "telnet", "tls", "udp", "vnc", "ws", "wss", "zmq", "mariadb", "mssql",
    "clickhouse", "docker", "rdp", "thrift", "cassandra", "memcached", "bolt", "neo4j", "iiop", "rmi", "gopher", "dict",
];

/// Schemes of sockets and pipes.
#[rustfmt::skip]
const SOCKET_SCHEMES: &[&str] = &[
    "abstract", "fd", "hvsock", "ipc", "npipe", "pipe", "unix", "unix-abstract", "unix-connect", "unix-listen", "unixgram",
    "unixpacket", "vmci", "vsock", "inproc", "local+unix",
];

/// Schemes with which editors open files.
#[rustfmt::skip]
const EDITOR_SCHEMES: &[&str] = &["cursor", "vscode", "vscode-insiders", "vscode-remote", "windsurf", "zed"];

/// Environment variables that name a socket.
#[rustfmt::skip]
const SOCKET_VARIABLES: &[&str] = &[
    "DOCKER_HOST", "CONTAINER_HOST", "PODMAN_HOST", "SSH_AUTH_SOCK", "SSH_AGENT_SOCK", "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS", "GPG_AGENT_INFO", "PULSE_SERVER", "BUILDKIT_HOST", "NIX_REMOTE", "NOTIFY_SOCKET",
    "LISTEN_FDS", "WAYLAND_DISPLAY", "CONTAINERD_ADDRESS", "TMUX", "XAUTHORITY", "KUBECONFIG", "VSCODE_IPC_HOOK",
];

/// Punctuation of addresses.
pub(crate) const MARKS: &[u8] = b":=.";

/// Adds `text` to `found` if the whole text is an address of this machine.
pub(crate) fn find_whole(place: Place, text: &str, found: &mut Findings) {
    let bytes = text.as_bytes();
    if place == Place::Text && is_own_address(text.trim().as_bytes()) {
        found.push(&ENDPOINT, 0..bytes.len());
    }
}

/// Returns the host-specific address whose punctuation is at `index`.
pub(crate) fn at_mark(place: Place, mark: u8, bytes: &[u8], index: usize) -> Option<(&'static LeakRule, Range<usize>)> {
    match mark {
        b':' if at(bytes, index + 1).is_ascii_digit() => {
            bare_endpoint(place, bytes, index).map(|span| (&ENDPOINT, span)).or_else(|| address(place, bytes, index))
        }
        b':' => address(place, bytes, index),
        b'=' => socket_variable(bytes, index).map(|span| (&SOCKET, span)),
        _ if place == Place::Text && at(bytes, index + 1) == b's' => {
            socket_name(bytes, index).map(|span| (&SOCKET, span))
        }
        _ => None,
    }
}

/// Returns the end of the public URL whose `://` has its colon at `colon`. Paths inside it are on another machine.
pub(crate) fn public_url_end(bytes: &[u8], colon: usize) -> Option<usize> {
    let scheme = scheme(bytes, colon);
    let is_web = ["http", "https", "ws", "wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web.as_bytes()));
    if !is_web || at(bytes, colon + 1) != b'/' || at(bytes, colon + 2) != b'/' || at(bytes, colon + 3) == b'/' {
        return None;
    }
    let mut end = colon + 3;
    loop {
        end = run_end(bytes, end, usize::MAX, |byte| {
            byte > b' ' && !is_quote(byte) && !matches!(byte, b'<' | b'>' | b',' | b';' | b'|' | b'\\' | b')' | 0x7f)
        });
        // `https://host,/etc/passwd` is a list.
        if matches!(at(bytes, end), b',' | b';' | b')')
            && at(bytes, end + 1) != b'/'
            && !is_space(at(bytes, end + 1))
            && end < bytes.len()
        {
            end += 1;
        } else {
            return Some(end);
        }
    }
}

/// Returns the scheme before a colon.
fn scheme(bytes: &[u8], colon: usize) -> &[u8] {
    let start = run_start(bytes, colon, 24, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    part(bytes, start, colon)
}

/// Reads `scheme:…` of a file, a socket or a machine.
fn address(place: Place, bytes: &[u8], colon: usize) -> Option<(&'static LeakRule, Range<usize>)> {
    let scheme = scheme(bytes, colon);
    let next = at(bytes, colon + 1);
    if scheme.len() < 2 || is_space(next) {
        return None;
    }
    let start = colon - scheme.len();
    let lower = scheme.to_ascii_lowercase();
    let end = || run_end(bytes, colon + 1, 256, |byte| !is_space(byte) && !is_quote(byte));
    if lower == b"file" || lower.ends_with(b"+file") || lower == b"davfile" {
        let is_path = matches!(next, b'/' | b'\\' | b'~' | b'.' | b'%' | b'$')
            || next.is_ascii_alphabetic() && at(bytes, colon + 2) == b':';
        return is_path.then(|| (&FILE_URL, start..end()));
    }
    // Editors open files of the host through URLs of their own schemes.
    let is_editor = EDITOR_SCHEMES.iter().any(|editor| lower == editor.as_bytes());
    if is_editor
        && [b"//file/".as_slice(), b"//wsl", b"//ssh"]
            .iter()
            .any(|path| part(bytes, colon + 1, colon + 1 + path.len()) == *path)
    {
        return Some((&FILE_URL, start..end()));
    }
    let is_socket = SOCKET_SCHEMES.iter().any(|socket| lower == socket.as_bytes()) || lower.ends_with(b"+unix");
    if is_socket && !is_word(before(bytes, start)) {
        let is_socket = match place {
            // `unix: a history` and `pipe:name` are prose.
            Place::Prompt => matches!(next, b'/' | b'@' | b'\0' | b'\\'),
            // `std::os::unix::net` is a path in a program.
            _ if next == b':' => false,
            _ if lower.starts_with(b"unix") || lower == b"npipe" || lower == b"vsock" => {
                !is_space(next) && colon + 1 < bytes.len()
            }
            _ => matches!(next, b'/' | b'@' | b'\0' | b'\\'),
        };
        return is_socket.then(|| (&SOCKET, start..end().max(colon + 2)));
    }
    if next != b'/' || at(bytes, colon + 2) != b'/' {
        return None;
    }
    let is_network = NETWORK_SCHEMES.iter().any(|network| lower == network.as_bytes())
        || lower.contains(&b'+')
            && [b"http".as_slice(), b"https", b"ssh"].iter().any(|network| lower.ends_with(network));
    let is_web = matches!(lower.as_slice(), b"http" | b"https" | b"ws" | b"wss");
    if place == Place::UrlTarget && is_web {
        return None;
    }
    let authority = run_end(bytes, colon + 3, 320, |byte| {
        byte > b' ' && !is_quote(byte) && !matches!(byte, b'/' | b'?' | b'#' | b'<' | b'>' | b'\\' | b',' | b')')
    });
    let whole = part(bytes, colon + 3, authority);
    let after_user = whole.iter().rposition(|&byte| byte == b'@').map_or(0, |sign| sign + 1);
    let (host, port) = host_and_port(part(whole, after_user, whole.len()));
    let is_local = match Locality::of(host) {
        Locality::PrivateAddress => true,
        Locality::LocalName => place != Place::Prompt && (is_network || !port.is_empty()),
        // `https://app:7x/…@example.com` contains a login whose password has a slash.
        Locality::SingleLabel => {
            let is_port = !port.is_empty() && port.iter().all(u8::is_ascii_digit);
            place != Place::Prompt && is_network && is_port
        }
        Locality::Elsewhere => false,
    };
    is_local.then_some((&ENDPOINT, start..authority))
}

/// Splits an authority into host and port. IPv6 keeps its brackets.
fn host_and_port(authority: &[u8]) -> (&[u8], &[u8]) {
    let host_end = if authority.first() == Some(&b'[') {
        authority.iter().position(|&byte| byte == b']').map_or(authority.len(), |bracket| bracket + 1)
    } else {
        authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len())
    };
    (part(authority, 0, host_end), part(authority, host_end + 1, authority.len()))
}

/// Reads `127.0.0.1:7878`, `localhost:7878` and `[::1]:7878` without a scheme.
fn bare_endpoint(place: Place, bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    if place == Place::UrlTarget {
        return None;
    }
    let port = run_end(bytes, colon + 1, 6, |byte| byte.is_ascii_digit());
    if port - colon > 6 || is_word(at(bytes, port)) || at(bytes, port) == b':' {
        return None;
    }
    let is_bracketed = before(bytes, colon) == b']';
    let start = if is_bracketed {
        let inner =
            run_start(bytes, colon - 1, 48, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'%'));
        inner.checked_sub(1).filter(|&bracket| at(bytes, bracket) == b'[')?
    } else {
        run_start(bytes, colon, 80, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let host = part(bytes, start, colon);
    // `address` handles text with a scheme.
    if host.is_empty() || part(bytes, start.saturating_sub(3), start) == b"://" {
        return None;
    }
    let is_local = match Locality::of(host) {
        // A number before a colon is a time or a line, not an address.
        Locality::PrivateAddress => is_bracketed || host.iter().filter(|&&byte| byte == b'.').count() == 3,
        Locality::LocalName => place != Place::Prompt,
        Locality::SingleLabel | Locality::Elsewhere => false,
    };
    is_local.then_some(start..port)
}

/// `true` if the whole value is an address of this machine.
fn is_own_address(value: &[u8]) -> bool {
    if value.len() > 64 {
        return false;
    }
    // `10.0.0.4` alone may be a version.
    let is_version =
        value.starts_with(b"10.") || !value.contains(&b'.') && !value.contains(&b':') || value.starts_with(b"0.");
    matches!(value, b"localhost" | b"0.0.0.0")
        || matches!(Locality::of(value), Locality::PrivateAddress) && !is_version && value != b"::"
        || value.contains(&b':')
            && value != b"::"
            && Locality::of(&[b"[", value, b"]"].concat()) == Locality::PrivateAddress
}

/// Reads `DOCKER_HOST=…`.
fn socket_variable(bytes: &[u8], equals: usize) -> Option<Range<usize>> {
    let start = run_start(bytes, equals, 32, is_word);
    let name = part(bytes, start, equals);
    if !SOCKET_VARIABLES.iter().any(|variable| name == variable.as_bytes()) {
        return None;
    }
    let end = run_end(bytes, equals + 1, 256, |byte| !is_space(byte));
    (end > equals + 1).then_some(start..end)
}

/// Reads `docker.sock` and `pod.socket`, but not `.sockeye`, `socket.io-client` or `client.socket.on`.
fn socket_name(bytes: &[u8], point: usize) -> Option<Range<usize>> {
    let end = run_end(bytes, point + 1, 7, |byte| byte.is_ascii_alphabetic());
    let is_suffix = matches!(part(bytes, point + 1, end), b"sock" | b"socket");
    let next = at(bytes, end);
    let goes_on = is_word(next) || matches!(next, b'-' | b'(') || next == b'.' && is_word(at(bytes, end + 1));
    let start = run_start(bytes, point, 128, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b'/' | b'}' | b'*'));
    (is_suffix && !goes_on && start < point).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, scan};

    fn is_refused(place: Place, text: &str) -> bool {
        scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::HostPath)
    }

    #[test]
    fn private_address_is_recognised_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0",
            "10.0.0.4",
            "192.168.1.1",
            "172.16.0.9",
            "169.254.169.254",
            "100.64.0.7",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fe80::1%25en0]",
            "[fd00::9]",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(is_refused(Place::Text, &format!("http://{host}:7878/v1")), "{host}");
            assert!(!is_refused(Place::UrlTarget, &format!("http://{host}:7878/v1")), "{host}");
        }
    }

    #[test]
    fn a_public_host_passes_with_and_without_a_port() {
        for host in ["example.com", "203.0.113.4", "[2001:db8::1]", "local.example.org", "localhost.example.com"] {
            assert!(!is_refused(Place::Text, &format!("https://{host}:8443/home/feed")), "{host}");
        }
    }

    #[test]
    fn localhost_passes_in_a_prompt_and_is_refused_elsewhere() {
        assert!(!is_refused(Place::Prompt, "Open http://localhost:3000 and look."));
        assert!(is_refused(Place::Text, "http://localhost:3000"));
        assert!(is_refused(Place::Prompt, "Ask http://10.0.0.4:3000 first."));
    }

    #[test]
    fn times_versions_and_lines_are_not_endpoints() {
        for text in [
            "10:30:00",
            "2026-06-25T15:49:30Z",
            "src/lib.rs:10:4",
            "ghcr.io/org/pkg:1",
            "1.2.3.4:latest",
            "user:default@3",
        ] {
            assert!(!is_refused(Place::Text, text), "{text}");
        }
    }
}
