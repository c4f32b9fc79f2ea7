//! Runs the console blocks of `README.md` and of the pages in `docs/`. The blocks of a page run in order in one folder.
//!
//! A line that begins with `$ ` is a command, which a shell runs; the lines below it are its expected output. A command
//! that ends in `&` is a service: it runs until the page ends, or until `kill %1`. `…` stands for any lines. A block `console no-run` is not
//! run, and `toml append=FILE` is appended to a file. `YOI_UPDATE=1` writes the actual output into the page.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use runtime_api::Code;

use crate::root;
use crate::runtime::ServiceProcess;
use crate::support::Place;

/// A command with its expected output.
struct Step {
    command: String,
    /// Lines of the page that hold the output.
    output: std::ops::Range<usize>,
}

/// A block of a page that has an effect.
enum Block {
    Steps(Vec<Step>),
    Append { file: String, text: String },
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = lines[at].strip_prefix("```").filter(|kind| !kind.is_empty()) else {
            at += 1;
            continue;
        };
        let end = at + 1 + lines[at + 1..].iter().position(|line| *line == "```").expect("the block ends");
        match kind.split_once(" append=") {
            Some((_, file)) => {
                blocks.push(Block::Append { file: file.to_owned(), text: lines[at + 1..end].join("\n") + "\n" });
            }
            None if kind == "console" => blocks.push(Block::Steps(steps(lines, at + 1, end))),
            None => assert!(!kind.starts_with("console") || kind == "console no-run", "{kind}"),
        }
        at = end + 1;
        // An unmarked fence would be taken for the beginning of the next block.
        while at < lines.len() && lines[at].is_empty() {
            at += 1;
        }
    }
    blocks
}

fn steps(lines: &[&str], mut at: usize, end: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while at < end {
        let mut command = lines[at].strip_prefix("$ ").expect("a command").to_owned();
        at += 1;
        while command.ends_with('\\') {
            command.pop();
            command.push_str(lines[at].trim_start());
            at += 1;
        }
        let begin = at;
        while at < end && !lines[at].starts_with("$ ") {
            at += 1;
        }
        steps.push(Step { command, output: begin..at });
    }
    steps
}

/// Runs the commands of a page.
struct Reader {
    place: Place,
    exported: Vec<(String, String)>,
    serving: Vec<ServiceProcess>,
}

impl Reader {
    fn new() -> Self {
        let place = Place::new();
        for folder in ["bundles/examples", "tests/guests/plugins/examples", "tests/guests/quickjs"] {
            let to = place.path().join(folder);
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            std::os::unix::fs::symlink(root().join(folder).canonicalize().expect("the examples"), to).expect("a link");
        }
        // The first run prints a note about compiling, which is in no page.
        assert_eq!(place.yoi(&["resolve", "builtin", "--profile", "coder"]).code, 0);
        Self { place, exported: Vec::new(), serving: Vec::new() }
    }

    fn command(&self, line: &str) -> Command {
        let yoi = Path::new(env!("CARGO_BIN_EXE_yoi")).parent().expect("a folder");
        let path = format!("{}:{}", yoi.display(), std::env::var("PATH").unwrap_or_default());
        let environment: Vec<_> = self
            .place
            .command()
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.place.path()).env_clear().envs(environment);
        command
            .env("PATH", path)
            .env("HOME", self.place.path())
            .envs(self.exported.iter().map(|(name, value)| (name, value)));
        command
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.place.path().join(file);
        let folder = self.place.path().join("files");
        std::fs::create_dir_all(&folder).expect("made");
        let text = text.replace("/srv/my-team/files", folder.to_str().expect("UTF-8"));
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, before + "\n" + &text).expect("written");
    }

    /// Lets the service choose a port, because another service may listen on the configured one.
    fn choose_port(&self, file: &str) {
        let path = self.place.path().join(file);
        let mut config = std::fs::read_to_string(&path).expect("the config");
        for port in ["127.0.0.1:7070", "127.0.0.1:7080"] {
            config = config.replace(port, "127.0.0.1:0");
        }
        std::fs::write(path, config).expect("written");
    }

    /// Runs one command and returns its output.
    fn run(&mut self, line: &str) -> String {
        if let Some(variable) = line.strip_prefix("export ") {
            let (name, value) = variable.split_once('=').expect("a variable");
            self.exported.push((name.to_owned(), value.to_owned()));
            return String::new();
        }
        if line == "kill %1" {
            assert_eq!(self.serving.remove(0).stop(), Some(0));
            return String::new();
        }
        if let Some(service) = line.strip_suffix(" &") {
            let is_backend = service.starts_with("yoi backend");
            self.choose_port(if is_backend { "backend.toml" } else { "runtime.toml" });
            let mut command = self.command(&format!("exec {service}"));
            let log = std::fs::File::create(self.place.path().join("log")).expect("a log");
            let serving = ServiceProcess::of(command.stderr(log), || "no address".to_owned());
            let url = format!("http://{}", serving.address);
            let variable = if is_backend { "YOI_BACKEND_URL" } else { "YOI_URL" };
            self.exported.push((variable.to_owned(), url.clone()));
            self.serving.push(serving);
            return format!("listening on {url}\n");
        }
        let output = self.command(&format!("{{ {line}\n}} 2>&1")).output().expect("a shell");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// Shapes of texts that differ at each run: `0` is a digit, `x` a letter of base64.
const SHAPES: [(&str, &str); 2] =
    [("0000-00-00T00:00:00Z", "[time]"), ("ed25519:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=", "[public key]")];

fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |c: char, shape: char| match shape {
        '0' => c.is_ascii_digit(),
        'x' => c.is_ascii_alphanumeric() || matches!(c, '+' | '/'),
        shape => c == shape,
    };
    text.chars().count() >= shape.len() && text.chars().zip(shape.chars()).all(|(c, shape)| fits(c, shape))
}

/// Returns the line without texts that differ at each run: times, ports and keys.
fn normal(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim_end();
    while let Some(c) = rest.chars().next() {
        if let Some((shape, word)) = SHAPES.iter().find(|(shape, _)| has_shape(rest, shape)) {
            text.push_str(word);
            rest = &rest[shape.len()..];
        } else if let Some(port) = rest.strip_prefix("127.0.0.1:") {
            text.push_str("127.0.0.1:[port]");
            rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            text.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    let is_of_a_key = ["key id", "signed by"].iter().any(|label| text.starts_with(label));
    match text.split_once("sha256:").filter(|_| is_of_a_key) {
        Some((label, _)) => format!("{label}[key id]"),
        None => text,
    }
}

/// `true` if the lines are the expected ones. `…` stands for any lines.
fn is_expected(expected: &[&str], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| is_expected(rest, &printed[skipped..])),
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, more)| normal(first) == normal(line) && is_expected(rest, more))
        }
    }
}

/// Runs the blocks of a page and returns the number of commands.
fn run_page(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).expect("the page");
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    if blocks.is_empty() {
        return 0;
    }
    let mut reader = Reader::new();
    let mut replaced: Vec<(std::ops::Range<usize>, Vec<String>)> = Vec::new();
    let mut wrong = String::new();
    let mut run = 0;
    for block in blocks {
        match block {
            Block::Append { file, text } => reader.append(&file, &text),
            Block::Steps(steps) => {
                for step in steps {
                    run += 1;
                    let printed: Vec<String> = reader.run(&step.command).lines().map(str::to_owned).collect();
                    if !is_expected(&lines[step.output.clone()], &printed) {
                        wrong.push_str(&format!("$ {}\n{}\n\n", step.command, printed.join("\n")));
                        replaced.push((step.output, printed));
                    }
                }
            }
        }
    }
    if std::env::var_os("YOI_UPDATE").is_some() && !replaced.is_empty() {
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        for (range, printed) in replaced.into_iter().rev() {
            lines.splice(range, printed);
        }
        std::fs::write(path, lines.join("\n") + "\n").expect("written");
    }
    let page = path.file_name().expect("a name").display();
    assert!(wrong.is_empty(), "{page} differs from the program; YOI_UPDATE=1 writes this into it:\n\n{wrong}");
    run
}

#[test]
fn commands_of_the_readme_print_the_documented_output() {
    let run = run_page(&root().join("README.md"));
    assert!(run >= 15, "{run} commands");
}

#[test]
fn commands_of_the_docs_print_the_documented_output() {
    let mut pages: Vec<_> = std::fs::read_dir(root().join("docs"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    let run: usize = pages.iter().map(|page| run_page(page)).sum();
    assert!(run >= 15, "{run} commands");
}

#[test]
fn readme_is_short() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(text.lines().count() <= 315);
}

/// Returns the rows of the Markdown tables of a page that begin with a name in backticks, by this name.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs").join(page)).expect("the page");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, rest)| (name.to_owned(), rest.split(" | ").skip(1).map(|cell| cell.trim().to_owned()).collect()))
        .collect()
}

#[test]
fn config_reference_has_every_limit_with_its_default() {
    let rows = rows("config.md");
    let limits = [
        serde_json::to_value(worker_runtime::RuntimeLimits::default()).expect("JSON"),
        serde_json::to_value(runtime_service::ServerLimits::default()).expect("JSON"),
        serde_json::to_value(worker_runtime::egress::EgressLimits::default()).expect("JSON"),
    ];
    for (name, default) in limits.iter().flat_map(|limits| limits.as_object().expect("a table")) {
        let row = rows.iter().find(|(row, _)| row == name).unwrap_or_else(|| panic!("`{name}` is missing"));
        assert_eq!(row.1[0], default.to_string(), "default of `{name}`");
    }
}

#[test]
fn config_reference_has_every_key_of_a_plugin_grant() {
    let digest = bundles::Digest::of("package");
    let config = format!("[workspaces.acme.plugins.\"{digest}\"]\nname = \"a\"\nconfig = {{}}\n");
    let config = host_policy::RuntimeConfig::from_toml(&config).expect("a config");
    let grants = config.grants(&"acme".parse().expect("an id")).plugins;
    let grant = serde_json::to_value(&grants[&digest]).expect("JSON");
    let text = std::fs::read_to_string(root().join("docs/config.md")).expect("the page");
    let (_, section) = text.split_once("### `plugins.\"DIGEST\"`").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    for key in grant.as_object().expect("a table").keys() {
        assert!(section.contains(&format!("\n| `{key}` |")), "`{key}` is missing");
    }
}

#[test]
fn config_reference_has_the_exit_code_of_each_error_code() {
    let rows = rows("config.md");
    // Rows of config keys have more cells.
    let codes: Vec<_> = rows.iter().filter(|(_, cells)| cells.len() == 2 && cells[1].len() == "3 |".len()).collect();
    for (code, cells) in &codes {
        assert_eq!(code.parse().map(|code: Code| format!("{} |", code.exit_code())), Ok(cells[1].clone()), "{code}");
    }
    assert!(codes.len() >= 4, "{codes:?}");
}

#[test]
fn http_reference_has_every_route() {
    let text = std::fs::read_to_string(root().join("docs/openapi.json")).expect("the description");
    let description: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let reference = std::fs::read_to_string(root().join("docs/rest.md")).expect("the page");
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys().map(|method| method.to_uppercase()) {
            let has_both = |line: &str| line.contains(&format!(" {path}`")) && line.contains(&format!("`{method}"));
            assert!(reference.lines().any(has_both), "{method} {path} is missing");
        }
    }
}
