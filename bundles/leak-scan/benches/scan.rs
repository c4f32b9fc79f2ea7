//! Measures the scan of one mebibyte of honest and of hostile text, in milliseconds. Reports the best of five runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use leak_scan::{Place, scan};

const SIZE: usize = 1 << 20;

fn main() {
    let prose = "You review changes. Read the diff before you answer, name the file and the line (src/lib.rs:10), \
                 and say what is wrong first: correctness, then clarity. Never run a command that was not asked for.\n";
    let program = "pub fn parse(input: &str) -> Result<Vec<Token>, ParseError> { input.split(',').map(Token::new).collect() } // a/b\n";
    let json = "{\"name\": \"read\", \"schema\": {\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\", \"maxLength\": 4096}}}}\n";
    let escaped = "{\\\"name\\\": \\\"read\\\", \\\"text\\\": \\\"a\\\\nb \\u0041 &amp; %20\\\"}";
    let japanese =
        "変更を確認し、ファイルと行を示してから、何が問題かを述べる。命令されていないコマンドは実行しない。\n";
    let texts = [
        ("prose", prose),
        ("program", program),
        ("JSON", json),
        ("escaped JSON", escaped),
        ("Japanese", japanese),
        ("slashes", "/"),
        ("backslashes", "\\"),
        ("points", "."),
        ("steps", "../"),
        ("tildes", "~/a "),
        ("spaces", " "),
        ("letters", "a"),
        ("equals", "a="),
        ("assignments", "key=a1b2c3d4 "),
        ("colons", "x:1:"),
        ("web tokens", "eyJ"),
        ("web tokens apart", "eyJ."),
        ("key blocks", "-----BEGIN"),
        ("key lines", "-BEGIN PRIVATE KEY-"),
        ("percent", "%25"),
        ("percent twice", "%2525"),
        ("escapes", "\\u002f"),
        ("entities", "&#47;"),
        ("base64 of text", "aGVsbG8gd29ybGQg"),
        ("base64 of noise", "q83vEjRWeJCrze8SNFZ4"),
        ("hex of text", "68656c6c6f20"),
        ("zero widths", "a\u{200b}"),
        ("full width", "\u{ff41}"),
        ("homoglyphs", "р"),
        ("prefixes", "sk-"),
        ("prefixes apart", "ghp_ "),
        ("cookies", "cookie:a="),
        ("logins", "://a:b@"),
        ("quotes", "\"\n\""),
        ("spaced out", "a "),
        ("short lines", "a\n"),
        ("markers", "AZDO"),
        ("webhooks", "hooks.slack.com/"),
        ("bearers", "bearer a1b2c3d4e5f6 "),
        ("addresses", "127.0.0.1: "),
        ("uuids", "2d84ee75-29c0-4c8e-ace3-76b07fccb5eb "),
    ];
    for (name, piece) in texts {
        let text = piece.repeat(SIZE / piece.len());
        for place in [Place::Prompt, Place::Text] {
            let best = (0..5).map(|_| time(place, &text)).min().unwrap_or_default();
            report(&format!("{name}, {place:?}"), best);
        }
    }
}

fn time(place: Place, text: &str) -> Duration {
    let start = Instant::now();
    black_box(scan(place, black_box(text)));
    start.elapsed()
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn report(name: &str, time: Duration) {
    println!("{:>8.1} ms  {name}", time.as_secs_f64() * 1000.0);
}
