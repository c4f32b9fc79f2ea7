//! Compilation in a child process.
//!
//! The child reads the component from standard input and writes the machine code to standard output,
//! after markers, so that the program may print something first. It gets no environment variables. It
//! limits its own address space and processor time before it reads the component. The processor time
//! covers all its threads and does not depend on the load of the machine. The parent kills a child that
//! has not ended after `compile_wall_ms`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::engine::on_demand;
use crate::error::LoadError;
use crate::limits::CompileLimits;

/// Marker before the result in the child's output.
const RESULT_MARKER: &[u8; 16] = b"\0yoi-compiled/1\0";

/// Marker for the start of the child's work. Later failures are caused by the component or by a limit.
const START_MARKER: &[u8; 16] = b"\0yoi-compiling/1";

/// Command-line argument that makes a program act as the compiling child.
pub const ARGUMENT: &str = "compile-child";

/// Name of the limit on the wall-clock time of compiling.
pub(crate) const WALL_LIMIT: &str = "compile_wall_ms";

/// Status byte after [`RESULT_MARKER`] for a compiled component. The machine code follows.
const OK: u8 = 0;
/// Status byte after [`RESULT_MARKER`] for a component that the compiler rejected.
const INVALID: u8 = 1;

/// Runs the child's side: compiles the component on standard input and returns the exit code.
///
/// Call it at the start of `main` if the first argument is [`ARGUMENT`], and exit with its result.
pub fn main() -> u8 {
    match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn serve() -> std::io::Result<()> {
    let mut input = std::io::stdin().lock();
    let (mut memory, mut millis) = ([0; 8], [0; 8]);
    input.read_exact(&mut memory)?;
    input.read_exact(&mut millis)?;
    {
        let mut output = std::io::stdout().lock();
        output.write_all(START_MARKER)?;
        output.flush()?;
    }
    set_own_limits(u64::from_le_bytes(memory), u64::from_le_bytes(millis));
    let mut component = Vec::new();
    input.read_to_end(&mut component)?;
    // Compiled code does not depend on the allocation, and on-demand allocation needs no address space for a pool.
    let engine = on_demand().map_err(std::io::Error::other)?;
    let (status, compiled) = match engine.precompile_component(&component) {
        Ok(compiled) => (OK, compiled),
        Err(_) => (INVALID, Vec::new()),
    };
    let mut output = std::io::stdout().lock();
    output.write_all(RESULT_MARKER)?;
    output.write_all(&[status])?;
    output.write_all(&compiled)?;
    output.flush()
}

/// Limits the address space and the processor time of this process, and disables core dumps.
#[cfg(unix)]
fn set_own_limits(memory_bytes: u64, millis: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // An inherited limit cannot be raised, so the lower value is set. If the system refuses anyway, the parent's
    // wall-clock limit still applies.
    let set = |resource: Resource, current: u64, maximum: u64| {
        let inherited = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = |value: u64| Some(value.min(inherited));
        let _ = setrlimit(resource, Rlimit { current: limit(current), maximum: limit(maximum) });
    };
    set(Resource::As, memory_bytes, memory_bytes);
    // At the soft limit the kernel sends SIGXCPU, which the parent recognises; at the hard limit it sends SIGKILL.
    let seconds = millis.div_ceil(1000).max(1);
    set(Resource::Cpu, seconds, seconds.saturating_add(1));
    set(Resource::Core, 0, 0);
}

/// `true` if the child was ended by the limit on its processor time.
#[cfg(unix)]
fn is_out_of_time(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::XCPU.as_raw())
}

#[cfg(not(unix))]
fn is_out_of_time(_: std::process::ExitStatus) -> bool {
    false
}

#[cfg(not(unix))]
fn set_own_limits(_memory_bytes: u64, _millis: u64) {}

/// Runs the parent's side: starts the child and returns the machine code of `component`.
pub(crate) async fn compile(
    program: &Path,
    arguments: &[OsString],
    component: &[u8],
    limits: &CompileLimits,
) -> Result<Vec<u8>, LoadError> {
    let failed = |problem| LoadError::Compiler { problem };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| failed("failed to start the compiling process"))?;
    let (Some(mut input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("the compiling process has no pipes"));
    };
    let mut header = Vec::with_capacity(16);
    header.extend(limits.compile_memory_bytes.to_le_bytes());
    header.extend(limits.compile_ms.to_le_bytes());
    let send = async {
        // A write error means that the child has ended; its exit status tells more.
        let _ = input.write_all(&header).await;
        let _ = input.write_all(component).await;
        drop(input);
    };
    // 64 KiB more for the markers and for text that the program prints before them.
    let max_output = limits.compiled_bytes.saturating_add(64 << 10);
    let receive = async {
        let mut compiled = Vec::new();
        output.take(max_output).read_to_end(&mut compiled).await.map(|_| compiled)
    };
    let receive_errors = async {
        let mut text = Vec::new();
        let _ = errors.take(64 << 10).read_to_end(&mut text).await;
        text
    };
    let work = async { tokio::join!(send, receive, receive_errors) };
    let wall = Duration::from_millis(limits.compile_wall_ms);
    let ((), compiled, error_output) = match tokio::time::timeout(wall, work).await {
        Ok(done) => done,
        Err(_) => {
            let _ = child.kill().await;
            return Err(LoadError::CompileLimit { limit: WALL_LIMIT, allowed: limits.compile_wall_ms });
        }
    };
    let compiled = compiled.map_err(|_| failed("failed to read from the compiling process"))?;
    if u64::try_from(compiled.len()).unwrap_or(u64::MAX) >= max_output {
        let _ = child.kill().await;
        return Err(LoadError::CompileLimit { limit: "compiled_bytes", allowed: limits.compiled_bytes });
    }
    // The child has closed its output, so it is about to end. It is killed below if it does not.
    let status = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
    if matches!(&status, Ok(Ok(status)) if is_out_of_time(*status)) {
        return Err(LoadError::CompileLimit { limit: "compile_ms", allowed: limits.compile_ms });
    }
    let exited_ok = matches!(&status, Ok(Ok(status)) if status.success());
    let _ = child.start_kill();
    let at = find(&compiled, RESULT_MARKER);
    match at.and_then(|at| compiled.get(at + RESULT_MARKER.len()..)).and_then(|content| content.split_first()) {
        Some((&OK, code)) if exited_ok => Ok(code.to_vec()),
        Some((&INVALID, _)) if exited_ok => Err(LoadError::Invalid),
        // The child started, and neither panicked nor exceeded its time. The limit on its address space is the only
        // other cause. The message of a failed allocation varies, so it is not required.
        _ if find(&compiled, START_MARKER).is_some() && (!panicked(&error_output) || out_of_memory(&error_output)) => {
            Err(LoadError::CompileLimit { limit: "compile_memory_bytes", allowed: limits.compile_memory_bytes })
        }
        _ => Err(failed("the compiling process crashed")),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // Only the first 64 KiB can be printed text; the machine code after them is not searched.
    haystack.windows(needle.len()).take(64 << 10).position(|window| window == needle)
}

fn panicked(error_output: &[u8]) -> bool {
    String::from_utf8_lossy(error_output).contains("panicked at")
}

/// `true` if the output contains a message of Rust's allocator or of a compiler thread about refused memory.
fn out_of_memory(error_output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(error_output);
    ["memory allocation of", "Cannot allocate memory", "OutOfMemory", "Resource temporarily unavailable"]
        .iter()
        .any(|words| text.contains(words))
}
