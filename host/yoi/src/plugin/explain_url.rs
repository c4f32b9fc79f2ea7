//! `yoi plugin explain-url`: explains whether a plugin may send a request to a URL.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::plugin::Package;
use bundles::{Method, UrlPermission};
use clap::builder::BoolishValueParser;
use host_policy::{
    AddressPolicy, CaseError, EgressCase, EgressExplanation, EgressRefusal, EgressRequest, KeyExplanation,
    MissingPermission, PermissionSet, explain_request,
};
use runtime_api::Code;
use serde_json::{Map, Value, json};

use super::grants::{HostArgs, to_toml};
use super::source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::Rows;

/// Explains whether a plugin may send a request to a URL, by the code that decides it in a Runtime.
///
/// Manifest and grant must both cover the URL, and each address of its name is checked. Nothing is looked up: pass the
/// addresses with `--resolve`. The effect of a tool and its secrets are not checked. The exit code is 4 if the request is refused, and 3 if the URL is invalid.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "yoi plugin explain-url [OPTIONS] PACKAGE METHOD URL\n       yoi plugin explain-url [OPTIONS] PACKAGE --websocket URL\n       yoi plugin explain-url --batch FILE"
)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    #[arg(required_unless_present = "batch")]
    package: Option<PathBuf>,
    /// HTTP method and URL, or only the URL with `--websocket`.
    #[arg(value_names = ["METHOD", "URL"], num_args = 1..=2, required_unless_present = "batch")]
    request: Vec<String>,
    /// Explains a WebSocket connection in place of a request.
    #[arg(long, env = "YOI_WEBSOCKET", value_parser = BoolishValueParser::new())]
    websocket: bool,
    /// Subprotocol of the WebSocket. Can be repeated.
    #[arg(long, value_name = "NAME", env = "YOI_SUBPROTOCOL", value_delimiter = ',', requires = "websocket")]
    subprotocol: Vec<String>,
    /// Header of the request. Can be repeated.
    #[arg(long, value_name = "NAME: VALUE", env = "YOI_HEADER", conflicts_with = "websocket")]
    header: Vec<String>,
    /// Addresses of a name, as a look-up would return them. Can be repeated.
    #[arg(long, value_name = "NAME=ADDRESS,…", env = "YOI_RESOLVE")]
    resolve: Vec<String>,
    #[command(flatten)]
    host: HostArgs,
    /// File with cases, each with its permissions: a JSON document with the list `cases`, or one JSON object on each line.
    /// Prints one JSON object on a line for each case.
    #[arg(long, value_name = "FILE", env = "YOI_BATCH", conflicts_with_all = ["package", "request"])]
    batch: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    match (&args.batch, &args.package) {
        (Some(file), _) => batch(file, output),
        (None, Some(package)) => explain(args, package, output),
        (None, None) => Err(usage("no package is named")),
    }
}

fn usage(message: &str) -> CliError {
    CliError::new(Code::Usage, message, "see `yoi plugin explain-url --help`")
}

fn refused(refusal: &EgressRefusal) -> CliError {
    let help = refusal.help().unwrap_or_else(|| "send another request".to_owned());
    CliError::new(refusal.code(), refusal.to_string(), help)
}

fn explain(args: &Args, path: &Path, output: &Output) -> Result<ExitCode, CliError> {
    let package = source::open(path, &args.limits.read()?.bundle)?;
    let request = request(args)?;
    let host = args.host.read(&package)?;
    let (targets, grants) = permissions(&package, &host, args.websocket);
    let resolved = addresses(args, &request)?;
    let explanation = explain_request(&targets, &grants, &request, &AddressPolicy::default(), resolved.as_deref());
    let refusal = &explanation.refusal;
    let document = document(&package, &explanation);
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row(if args.websocket { "websocket" } else { "request" }, &explanation.request);
        rows.row("target", of_key(&explanation.target, "the manifest has no target"));
        rows.row("grant", of_key(&explanation.grant, host.no_grant()));
        rows.list("address", explanation.addresses.iter().map(|one| format!("{}, {}", one.address, one.class)));
        if let Some(name) = &explanation.unresolved {
            rows.row("address", format!("not checked: pass the addresses with `--resolve {name}=ADDRESS`"));
        }
        if let Some(permission) = &explanation.permission {
            rows.row("would allow", to_toml(&json!(permission)).to_string().trim());
        }
        rows.row(
            "verdict",
            match (refusal, &explanation.unresolved) {
                (Some(refusal), _) => format!("refused [{}]", refusal.code()),
                (None, Some(name)) => {
                    format!("allowed, if `{name}` has only {} addresses", explanation.allowed_addresses.join(" or "))
                }
                (None, None) => "allowed".to_owned(),
            },
        );
        rows.into_text()
    });
    let Some(refusal) = refusal else { return Ok(ExitCode::SUCCESS) };
    if output.is_text() {
        let mut error = refused(refusal);
        if explanation.permission.is_some() {
            let list = if args.websocket { "websockets" } else { "requests" };
            error.help = format!("add the permission of `would allow` to {}", places(refusal, list));
        }
        return Ok(output.error(&error));
    }
    Ok(ExitCode::from(refusal.code().exit_code()))
}

/// Returns the lists that lack a permission.
fn places(refusal: &EgressRefusal, list: &str) -> String {
    let (target, grant) = (format!("`[[{list}]]` in the manifest"), format!("`{list}` in the grant"));
    match refusal {
        EgressRefusal::NotCovered { missing: MissingPermission::Target, .. }
        | EgressRefusal::SpecialAddress { missing: MissingPermission::Target, .. } => target,
        EgressRefusal::NotCovered { missing: MissingPermission::Grant, .. }
        | EgressRefusal::SpecialAddress { missing: MissingPermission::Grant, .. } => grant,
        _ => format!("{target} and to {grant}"),
    }
}

fn document(package: &Package, explanation: &EgressExplanation) -> Map<String, Value> {
    let mut document = super::summary(package, "yoi.plugin-explain-url/1");
    let refusal = explanation.refusal.as_ref();
    let verdict = match (refusal, &explanation.unresolved) {
        (Some(_), _) => "deny",
        (None, Some(_)) => "allow_unresolved",
        (None, None) => "allow",
    };
    document.insert("verdict".to_owned(), json!(verdict));
    document.insert("code".to_owned(), json!(refusal.map(|refusal| refusal.code().as_str())));
    document.insert("message".to_owned(), json!(refusal.map(ToString::to_string)));
    document.insert("explanation".to_owned(), json!(explanation));
    document
}

/// Returns the targets of the manifest and the grants of the host.
fn permissions(package: &Package, host: &super::grants::Host, websocket: bool) -> (PermissionSet, PermissionSet) {
    let asked = package.manifest().permissions();
    let targets = if websocket { &asked.websockets } else { &asked.requests };
    let grants: &[UrlPermission] = match host.grant() {
        None => &[],
        Some(grant) if websocket => &grant.websockets,
        Some(grant) => &grant.requests,
    };
    let targets = targets.iter().map(|target| target.what.clone());
    (PermissionSet::new(targets), PermissionSet::new(grants.iter().cloned()))
}

fn of_key(key: &KeyExplanation, none: &str) -> String {
    match (&key.covered_by, &key.nearest_differs_in) {
        (Some(permission), _) => format!("covered by {permission}"),
        (None, Some(part)) => format!("not covered: the nearest permission is for another {part}"),
        (None, None) => format!("not covered: {none}"),
    }
}

fn request(args: &Args) -> Result<EgressRequest, CliError> {
    let request = match (args.request.as_slice(), args.websocket) {
        ([url], true) => EgressRequest::websocket(url, args.subprotocol.clone()),
        ([method, url], false) => {
            let method: Method =
                method.parse().map_err(|_| usage("invalid method: expected a method such as `GET`"))?;
            let header = |text: &String| match text.split_once(':') {
                Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
                None => Err(usage("invalid header: expected `NAME: VALUE`")),
            };
            EgressRequest::request(method, url, args.header.iter().map(header).collect::<Result<_, _>>()?)
        }
        (_, true) => return Err(usage("expected PACKAGE and URL")),
        (_, false) => return Err(usage("expected PACKAGE, METHOD and URL")),
    };
    request.map_err(|refusal| refused(&refusal))
}

/// Returns the addresses that `--resolve` gives to the name of the request, or `None` if it gives none.
fn addresses(args: &Args, request: &EgressRequest) -> Result<Option<Vec<IpAddr>>, CliError> {
    let mut found = None;
    for text in &args.resolve {
        let invalid = || usage("invalid `--resolve`: expected NAME=ADDRESS,…");
        let (name, list) = text.split_once('=').ok_or_else(invalid)?;
        let list: Vec<IpAddr> = list
            .split(',')
            .filter(|item| !item.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| invalid())?;
        if request.host().to_string().eq_ignore_ascii_case(name) {
            found = Some(list);
        }
    }
    Ok(found)
}

/// Largest file of cases.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// Block of addresses that a file of cases may use in place of public ones.
const TEST_NET_3: &str = "203.0.113.0/24";

/// Checks each case of a file.
fn batch(path: &Path, output: &Output) -> Result<ExitCode, CliError> {
    let text = files::read_text(path, MAX_BATCH_BYTES, "file of cases")?;
    let invalid = |line: usize| {
        let message = format!("invalid cases in `{}`: line {line} is not a JSON object", files::shown(path));
        CliError::new(Code::InvalidJson, message, "write a JSON document with `cases`, or one JSON object on each line")
    };
    let mut policy = AddressPolicy::default();
    let cases: Vec<Value> = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(mut document)) if document.contains_key("cases") => {
            let is_public = |blocks: &Value| blocks.as_array().is_some_and(|list| list.contains(&json!(TEST_NET_3)));
            if document.get("public_stand_ins").is_some_and(is_public) {
                policy = AddressPolicy::with_test_net_3();
            }
            match document.remove("cases") {
                Some(Value::Array(cases)) => cases,
                _ => return Err(invalid(1)),
            }
        }
        _ => {
            let parse = |(number, line): (usize, &str)| serde_json::from_str(line).map_err(|_| invalid(number + 1));
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect::<Result<_, _>>()?
        }
    };
    let mut answers = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let case = EgressCase::new(case.as_object().ok_or_else(|| invalid(index + 1))?, false);
        let checked = case.check(&policy);
        answers.push(json!({
            "id": case.text("id"),
            "verdict": if checked.is_ok() { "allow" } else { "deny" },
            "code": checked.as_ref().err().map(CaseError::code),
            "message": checked.as_ref().err().map(ToString::to_string),
            "addresses": checked.map(|addresses| addresses.as_slice().to_vec()).unwrap_or_default(),
        }));
    }
    let document = json!({ "schema": "yoi.plugin-explain-url-batch/1", "cases": answers });
    output.result(&document, || answers.iter().map(|answer| format!("{answer}\n")).collect());
    Ok(ExitCode::SUCCESS)
}
