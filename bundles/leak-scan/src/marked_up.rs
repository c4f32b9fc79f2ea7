//! Labels and values with common markup: every secret is found and every placeholder passes. Values are drawn at run
//! time from fixed seeds.

use crate::samples::{BASE32, BASE62, BASE64, Dice, HEX, UPPER, URL_SAFE, fill};
use crate::{Kind, Place, scan};

/// Forms in which people mark up a label and its value.
#[rustfmt::skip]
const MARKED_UP: &[&str] = &[
    "**L:** V", "**L**: V", "**L:** `V`", "**L**\n\nV", "**L** V", "*L*: V", "*L:* V", "__L:__ V", "__L__: V", "- **L:** V", "* **L**: V", "1. **L:** `V`",
    "`L`: V", "`L`: `V`", "\"L\": \"V\"", "~~L~~: V", "> **L:** V", "> L:\n> V", "L: **V**", "***L:*** V",
    "_L:_ V", "_L_: V", "_L_ V", "**_L:**_ V", "**_L:_** V", "_**L:**_ V", "_**L**_ V", "*_L:_* V", "__L__ V", "___L:___ V", "| _L:_ | V |", "- _L:_ `V`",
    "| L                     | V |", "| `L`                                        |                                V |", "L         = V", "L\t\t\t\t\t\t\t\t\t\t: V",
    "L:                                                                V", "L:\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nV",
    "<tr>\n                                        <td>L</td>\n                                        <td>V</td>\n</tr>",
    "<td class=\"column wide\" style=\"padding-left: 4px; padding-right: 4px; color: black; text-align: left\">L</td><td>V</td>",
    "<td>L</td><td class=\"column wide\" style=\"padding-left: 4px; padding-right: 4px; color: black; text-align: left\">V</td>",
    "- L\n                                 - V",
    "| L | V |", "|L|V|", "| **L** | `V` |", "| Name | L | V |", "L | V", "| L: | V |",
    "## L\nV", "# L\n\nV", "### L:\n\nV", "## L ##\nV", "## **L**\n`V`", "L\n=====\nV", "L\n-----\nV", "## L\n```\nV\n```",
    "<b>L</b>: V", "<b>L:</b> V", "<strong>L</strong> V", "<td>L</td><td>V</td>", "<tr>\n  <th>L</th>\n  <td>V</td>\n</tr>", "<dt>L</dt>\n<dd>V</dd>",
    "<li>L: <code>V</code></li>", "<p><em>L</em>: V</p>", "<td class=\"a\">L</td>\n<td><code>V</code></td>", "L:&nbsp;V", "<b>L</b>:&nbsp;V",
    // Tables with the labels in the first row.
    "| user | L |\n|---|---|\n| bob | V |", "|user|L|\n|-|-|\n|bob|V|", "user | L\n--- | ---\nbob | V", "| **L** | user |\n|:--|--:|\n| `V` | bob |",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n| user | L | note |\n|---|:-:|---|\n| ann | | |\n| bob | <code>V</code> | x |", "> | user | L |\n> |---|---|\n> | bob | V |",
    "| L |\n|---|\n| V |", "+------+-----+\n| user | L   |\n+------+-----+\n| bob  | V   |\n+------+-----+", " user | L \n------+-----\n bob  | V",
    "+------+-----+\n| user | L   |\n+======+=====+\n| ann  | x   |\n+------+-----+\n| bob  | V   |\n+------+-----+", "user  L\n----  --------\nbob   V",
    "| user | L (prod) |\n|---|---|\n| bob | V |", "<table><tr><th>User</th><th>L</th></tr><tr><td>bob</td><td>V</td></tr></table>",
    "<table>\n<thead>\n<tr class=\"a\">\n<th>User</th>\n<th>L</th>\n</tr>\n</thead>\n<tbody>\n<tr><td>ann</td><td></td></tr>\n<tr>\n<td>bob</td>\n<td><code>V</code></td>\n</tr>\n</tbody>\n</table>",
    "user,L\nbob,V", "L,user\nV,bob", "user,L,note\r\nann,,\r\nbob,V,x", "| Field | Type | Value |\n|---|---|---|\n| L | string | V |",
    "<table><tr><th>Field</th><th>Type</th><th>Default</th></tr>\n<tr><td>L</td><td>string</td><td>V</td></tr></table>",
    // HTML elements.
    "<a href=\"https://example.com\">L</a>: V", "L: <a href=\"https://example.com\">V</a>", "<blockquote>L: V</blockquote>", "L\n<blockquote>V</blockquote>",
    "<blockquote>\n<p>L</p>\n<p>V</p>\n</blockquote>", "<dl><dt>L</dt><dd>V</dd></dl>", "<summary>L</summary>\n\nV", "<tr><td><b>L</b></td><td><pre>V</pre></td></tr>",
    "L: <!-- V -->", "<th scope=\"row\">L</th><td>V</td>", "<li>L</li>\n<li>V</li>",
    // Quotations, lists and code blocks.
    "> L\n> V", "> **L**\n>\n> V", ">> L\n>> V", "> L:\n>\n> `V`", "1. L\n   1. V", "1. L:\n   1. V", "10) L\n    1) `V`", "- [x] L\n  - [ ] V", "- L\n  1. V", "• L\n  ◦ V",
    "L:\n```\nV\n```", "L:\n\n```text\nV\n```", "L\n\n~~~toml\nV\n~~~", "L\n```\nV\n```", "1. L\n\n   ```\n   V\n   ```", "L\nV", "L  \nV", "L\r\nV\r\n", "L\n\n    V", "L\n\nV",
    // Dashes, arrows and brackets.
    "**L** — V", "**L** – V", "L – V", "L — V", "L—V", "L - V", "L -- V", "L --- V", "- **L** - `V`", "L -> V", "L --> V", "L → V", "L ⇒ V", "L ➜ V", "L => V", "L ==> V", "L 👉 V",
    "L &rarr; V", "L &mdash; V", "L&nbsp;&nbsp;V", "~~L~~ V", "L (prod) [eu]: V", "L 2: V", "L #1: V", "L prod: V", "L: <V>",
    "1) L\n   a) V", "a. L\n   i. V", "L · V", "L • V", "L » V", "L … V", "L ..... V", "L & V \\\\", "L := V", "L :: V", "L (prod): V", "L (of bob) - V", "L [prod] = V", "**L** (prod): `V`", "L (prod) → V",
    "L for prod: V", "L of the database = V", "The L is: V", "The L for prod is: **V**",
    // Quotation marks and links.
    "L: ``V``", "L: `` V ``", "L: ```V```", "L: «V»", "L: « V »", "L: “V”", "L: „V“", "L: ‘V’", "L: ‹V›", "L: 「V」", "L “V”", "“L”: “V”", "«L»: «V»", "L: ==V==", "L: ||V||", "L: [V](https://example.com)",
    "- L:\n  - V", "* L:\n    * V", "- L\n  - V", "1. L:\n   - `V`", "L\n: V", "L:\n\n    V", "L: |\n  V", "L: >-\n  V",
];

/// Forms for the name of a variable.
#[rustfmt::skip]
const MARKED_UP_NAMES: &[&str] = &[
    "ENV X_N V", "ARG N V", "setenv N V", "RUN export N V", "ENV N \"V\"", "config set N V", "N,V", "alice,N,V", "| `N` | V |", "<b>N</b>: V", "Name: N\nValue: V",
    "ENV\tX_N\tV", "ENV X_N\tV", "ENV X_N          V", "ARG\tN\tV", "export\tN V", "setenv\tN\tV",
];

/// Calls `check` with each form, its labels, and for each label a function that writes a value below or beside it.
fn marked_up(mut check: impl FnMut(&str, &[(&str, &dyn Fn(&str) -> String)])) {
    let labels = ["Password", "Token", "API key", "Access token", "Client secret", "DB password"];
    let names = ["PASSWORD", "API_TOKEN", "CLIENT_SECRET"];
    let forms = MARKED_UP.iter().map(|form| (*form, &labels[..]));
    for (form, labels) in forms.chain(MARKED_UP_NAMES.iter().map(|form| (*form, &names[..]))) {
        let writers: Vec<_> =
            labels.iter().map(|label| (*label, move |value: &str| write(form, label, value))).collect();
        let writers: Vec<_> = writers.iter().map(|(label, write)| (*label, write as &dyn Fn(&str) -> String)).collect();
        check(form, &writers);
    }
}

/// Fills a form: `L` and `N` stand for the label, and `V` for the value.
fn write(form: &str, label: &str, value: &str) -> String {
    let letters = form.char_indices().map(|(index, letter)| {
        let is_alone = |index: Option<usize>| {
            index.and_then(|index| form.as_bytes().get(index)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        match letter {
            'L' | 'N' if is_alone(index.checked_sub(1)) && is_alone(Some(index + 1)) => label.to_owned(),
            'V' if is_alone(index.checked_sub(1)) && is_alone(Some(index + 1)) => value.to_owned(),
            other => other.to_string(),
        }
    });
    format!("Some words before.\n\n{}\n\nSome words behind.\n", letters.collect::<String>())
}

fn is_refused(place: Place, text: &str) -> bool {
    scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::Secret)
}

/// Draws a value like those of providers and password generators.
fn value(dice: &mut Dice) -> String {
    let lower = "abcdefghijklmnopqrstuvwxyz0123456789";
    let alphabets = [BASE62, HEX, URL_SAFE, BASE64, BASE32, UPPER, lower];
    let alphabet = alphabets[dice.below(alphabets.len())];
    let length = 12 + dice.below(53);
    dice.draw(alphabet, length)
}

#[test]
fn markup_between_label_and_value_hides_no_secret() {
    let mut missed = Vec::new();
    let mut dice = Dice::new(53);
    marked_up(|form, writers| {
        for (label, write) in writers.iter().cycle().take(40) {
            // About one in some hundred short values could be a name. See the next test.
            let is_known = |value: &String| is_refused(Place::Text, &format!("{label} = \"{value}\""));
            let value = std::iter::repeat_with(|| value(&mut dice)).find(is_known).unwrap();
            let text = write(&value);
            if !is_refused(Place::Prompt, &text) || !is_refused(Place::Text, &text) {
                missed.push(format!("{form:?} {label}: {value}"));
            }
        }
    });
    assert!(missed.is_empty(), "{}\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn value_of_any_alphabet_and_length_is_distinguished_from_words() {
    let mut dice = Dice::new(59);
    for (lengths, least) in [(12..16, 940), (16..20, 975), (20..65, 990)] {
        for label in ["password", "API_TOKEN"] {
            let is_known = |value: &String| is_refused(Place::Text, &format!("{label} = \"{value}\""));
            let values = std::iter::repeat_with(|| value(&mut dice)).filter(|value| lengths.contains(&value.len()));
            let missed: Vec<String> = values.take(1000).filter(|value| !is_known(value)).collect();
            assert!(1000 - missed.len() >= least, "{lengths:?}: {}\n{}", missed.len(), missed.join("\n"));
        }
    }
}

#[test]
fn placeholder_behind_markup_passes() {
    #[rustfmt::skip]
    let plain = [
        "changeme", "<your key>", "<your-api-key>", "${TOKEN}", "$OPENAI_API_KEY", "{{ token }}", "YOUR_TOKEN_HERE", "your-api-key-here", "xxxxxxxxxxxxxxxx",
        "********", "secret:github-token", "env:API_TOKEN", "vault:kv/app#password", "op://vault/item/password", "[redacted]", "REPLACE_ME", "...", "required",
        "optional", "see the keyring", "string", "https://auth.example.com/token", "none", "ask your administrator", "example-token-1234", "%TOKEN%", "bearer",
        "oauth2-device-code", "stored by the host", "0123456789abcdef", "", "<your-x7-token>", "<token-a8f3k2q9>", "your-x7Kq29-token", "${X7_TOKEN_2}",
        "[your-x7-token]", "{your_x7_token}", "YOUR_X7_TOKEN_HERE",
    ];
    let mut refused = Vec::new();
    marked_up(|_, writers| {
        for ((_, write), value) in writers.iter().cycle().zip(plain) {
            for place in [Place::Prompt, Place::Text] {
                let text = write(value);
                let rules: Vec<_> = scan(place, &text)
                    .iter()
                    .filter(|leak| leak.rule.kind() == Kind::Secret)
                    .map(|leak| leak.rule.id())
                    .collect();
                if !rules.is_empty() {
                    refused.push(format!("{place:?} {text:?}: {rules:?}"));
                }
            }
        }
    });
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn marked_up_prose_about_secrets_passes() {
    let mut dice = Dice::new(47);
    for template in [
        "## Passwords\n\nNever store them. Commit {hex:40} removed the last one.",
        "**Token:** the part of a text that a model reads at once.",
        "| Field | Type | Default |\n|---|---|---|\n| password | string | none |\n| max_tokens | number | 4096 |\n| commit | string | {hex:40} |",
        "- Token limits:\n  - 128000\n  - {uuid}",
        "## Secret management\n\n{hex:40} is the digest of the policy.",
        "<b>Password policy</b>: {hex:32}",
        "## Key\n\n{hex:40}",
        "Account SID: AC{hex:32}",
        "SID: SM{hex:32}",
        "- **SID**: `AC{hex:32}`",
        "FROM python\nENV GPG_KEY {hex:40}\nENV GPG_KEY={hex:40}",
        "- Secrets\n  - {hex:40}",
        "- Secrets:\n  - `{hex:40}`\n  - {hex:40}: second",
        "## Secrets\n\n- {hex:40}: first commit\n- {hex:40}: second commit",
        "# Tokens\n\n{hex:40} was the first commit.",
        "<h2>Passwords</h2>\n<ul>\n  <li>{hex:64}</li>\n</ul>",
        "password = \"base64\"\npassword: sha256\npassword = chacha20",
        "_Token_ is a part of a text. __Passwords__ are never written down; see {hex:40}.",
        "_Commit:_ {hex:40}, **_Digest:**_ {hex:64}, __init__ {hex:40}, _private {uuid}",
        "| Commit               |          {hex:40} |\n| max_tokens           |             128000 |",
        "| Key | Value |\n|---|---|\n| id | {uuid} |",
        "ENV PATH_TO_TOKEN /run/x\nENV COMMIT {hex:40}\nexport TOKENIZER cl100k_base",
        "The API key - never print it - is read by the host.",
        "password,token,secret\nname,{hex:40}",
        "# Authentication\n\n1. **Authorization**: required\n2. **Scopes**: `read`\n3. **Digest**: `{hex:64}`",
    ] {
        let text = fill(template, &mut dice);
        let found: Vec<_> = scan(Place::Prompt, &text)
            .iter()
            .filter(|leak| leak.rule.kind() == Kind::Secret)
            .map(|leak| leak.rule.id())
            .collect();
        assert!(found.is_empty(), "{template}: {found:?}");
    }
    for template in [
        "Account SID: AC{hex:32}\nAuth token: {hex:32}",
        "SID: {b62:32}",
        "ENV GPG_PRIVATE_KEY {b64:43}",
        "- Secrets\n  - {b62:40}",
        "- Secrets\n  - {hex:32}",
        "- Secret\n  - {hex:40}",
        "Secrets: {hex:40}",
        "## Secrets\n\n- {b62:32}: the first",
        "password = \"banane64\"",
    ] {
        assert!(is_refused(Place::Prompt, &fill(template, &mut dice)), "{template}");
    }
}
