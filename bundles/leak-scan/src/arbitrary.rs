//! Properties for arbitrary text: no panic, spans on character boundaries, and linear time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::{Place, scan};

const PLACES: [Place; 4] = [Place::Prompt, Place::Text, Place::UrlTarget, Place::ObjectKey];

/// Text that rules start and end with, so that arbitrary texts reach their edge cases.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "/", "\\", "..", "~", "$HOME", "${", "}", "%", "%2", "%25", "%c0", "%u00", "\\u00", "\\ud800", "\\x", "&#", "&#x", ";", ":", "://", "=", "\"", "'",
    "eyJ", ".", "-----BEGIN ", "PRIVATE KEY", "-----", "ghp_", "sk-", "SG.", "Bearer ", "cookie:", "login ", "password", "key", "\n", "\r\n", " ", "\0",
    "\u{200b}", "\u{ff0f}", "é", "日", "👍", "http", "file", "unix", "127.0.0.1", "[::1]", "localhost", "C:", "home", "0", "a", "AAAA", "-us1", "@", "<", ">", "{{", "#",
];

fn check(text: &str) {
    for place in PLACES {
        let leaks = scan(place, text);
        assert!(leaks.len() <= 64);
        for leak in leaks {
            assert!(leak.span.start < leak.span.end, "{:?}", leak.rule);
            assert!(text.get(leak.span).is_some(), "{:?}", leak.rule);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_scanned_without_panic(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_sequence_of_edges_is_scanned_without_panic(picks in prop::collection::vec(0..PIECES.len(), 0..40)) {
        check(&picks.iter().map(|&pick| PIECES[pick]).collect::<String>());
    }
}

#[test]
fn time_is_linear_in_the_text() {
    for piece in PIECES.iter().copied().chain([
        "a=",
        "key=a1b2c3d4 ",
        "sk-",
        "../",
        "\"\n\"",
        "a b ",
        "AZDO",
        "-BEGIN PRIVATE KEY-",
        "SG.-",
        "x:1:",
        "cookie:a=",
        "://a@",
        "~/a ",
        "_ ",
        "- ",
        "| ",
        "- token_ \n",
        "<b> ",
        "<b>\n          aaaaaaaa",
        "| token                              ",
    ]) {
        let time = |size: usize| {
            let text = piece.repeat(size / piece.len());
            (0..3)
                .map(|_| {
                    let start = Instant::now();
                    scan(Place::Prompt, &text);
                    start.elapsed()
                })
                .min()
                .unwrap_or_default()
        };
        let (short, long) = (time(1 << 12), time(1 << 15));
        // The text is eight times as long. A quadratic rule would take 64 times as long.
        assert!(long < short * 28 + Duration::from_millis(20), "`{piece}`: {short:?}, then {long:?}");
    }
}
