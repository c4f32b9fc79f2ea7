//! Compiling in a child process.
//!
//! The child reads the component on its standard input and writes the machine code to its standard
//! output, behind marks, so that a program that prints something first can serve as well. It gets
//! no environment. It bounds its own address space and processor time before it reads. Processor time
//! counts all its threads, and does not depend on the load of the machine. The parent kills a child that
//! has not ended after `compile_wall_ms`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::engine::{Allocation, engine};
use crate::error::LoadError;
use crate::limits::CompileLimits;

/// Stands before the machine code on the child's output.
const MARK: &[u8; 16] = b"\0yoi-compiled/1\0";

/// Says that the child has begun. What ends it from then on is the component or its bounds.
const BEGUN: &[u8; 16] = b"\0yoi-compiling/1";

/// The argument by which a program that serves as compiling child knows that it is meant.
pub const ARGUMENT: &str = "compile-child";

/// The limit on the wall-clock time of compiling.
pub(crate) const WALL: &str = "compile_wall_ms";

/// How the child ended, in its own word, which stands before the mark's content.
const OK: u8 = 0;
const INVALID: u8 = 1;

/// The child's side: compiles what comes on standard input, and returns the exit code. Call it
/// first thing in `main` where the arguments say so, and exit.
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
        output.write_all(BEGUN)?;
        output.flush()?;
    }
    bound(u64::from_le_bytes(memory), u64::from_le_bytes(millis));
    let mut component = Vec::new();
    input.read_to_end(&mut component)?;
    // Allocation does not enter into compiled code; on demand needs no address space for a pool.
    let engine = engine(Allocation::OnDemand).map_err(std::io::Error::other)?;
    let (word, compiled) = match engine.precompile_component(&component) {
        Ok(compiled) => (OK, compiled),
        Err(_) => (INVALID, Vec::new()),
    };
    let mut output = std::io::stdout().lock();
    output.write_all(MARK)?;
    output.write_all(&[word])?;
    output.write_all(&compiled)?;
    output.flush()
}

#[cfg(unix)]
fn bound(memory_bytes: u64, millis: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A bound that the process inherited cannot be raised, and must not keep ours from being set. Where the system
    // refuses nevertheless, the parent's clock still stands.
    let bound = |resource: Resource, current: u64, maximum: u64| {
        let inherited = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = |value: u64| Some(value.min(inherited));
        let _ = setrlimit(resource, Rlimit { current: limit(current), maximum: limit(maximum) });
    };
    bound(Resource::As, memory_bytes, memory_bytes);
    // At the lower of the two the kernel sends SIGXCPU, by which the parent knows; at the higher one SIGKILL.
    let seconds = millis.div_ceil(1000).max(1);
    bound(Resource::Cpu, seconds, seconds.saturating_add(1));
    bound(Resource::Core, 0, 0);
}

/// Returns `true` if the child was ended by the bound on its processor time.
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
fn bound(_memory_bytes: u64, _millis: u64) {}

/// The parent's side.
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
        .map_err(|_| failed("the compiling process cannot be started"))?;
    let (Some(mut input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("the compiling process has no pipes"));
    };
    let mut header = Vec::with_capacity(16);
    header.extend(limits.compile_memory_bytes.to_le_bytes());
    header.extend(limits.compile_ms.to_le_bytes());
    let send = async {
        // A child that dies in between is seen by its exit.
        let _ = input.write_all(&header).await;
        let _ = input.write_all(component).await;
        drop(input);
    };
    // Room for the mark and for what a program may print before it.
    let most = limits.compiled_bytes.saturating_add(64 << 10);
    let receive = async {
        let mut compiled = Vec::new();
        output.take(most).read_to_end(&mut compiled).await.map(|_| compiled)
    };
    let complain = async {
        let mut text = Vec::new();
        let _ = errors.take(64 << 10).read_to_end(&mut text).await;
        text
    };
    let work = async { tokio::join!(send, receive, complain) };
    let wall = Duration::from_millis(limits.compile_wall_ms);
    let ((), compiled, complaint) = match tokio::time::timeout(wall, work).await {
        Ok(done) => done,
        Err(_) => {
            let _ = child.kill().await;
            return Err(LoadError::CompileLimit { limit: WALL, allowed: limits.compile_wall_ms });
        }
    };
    let compiled = compiled.map_err(|_| failed("the compiling process cannot be read"))?;
    if u64::try_from(compiled.len()).unwrap_or(u64::MAX) >= most {
        let _ = child.kill().await;
        return Err(LoadError::CompileLimit { limit: "compiled_bytes", allowed: limits.compiled_bytes });
    }
    // It has closed its output: it ends by itself, or is ended.
    let status = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
    if matches!(&status, Ok(Ok(status)) if is_out_of_time(*status)) {
        return Err(LoadError::CompileLimit { limit: "compile_ms", allowed: limits.compile_ms });
    }
    let clean = matches!(&status, Ok(Ok(status)) if status.success());
    let _ = child.start_kill();
    let at = find(&compiled, MARK);
    match at.and_then(|at| compiled.get(at + MARK.len()..)).and_then(|content| content.split_first()) {
        Some((&OK, code)) if clean => Ok(code.to_vec()),
        Some((&INVALID, _)) if clean => Err(LoadError::Invalid),
        // Neither panicked nor ended by the clock: its address space is the one bound that is left, and
        // what an allocation that fails looks like is the allocator's to choose.
        _ if find(&compiled, BEGUN).is_some() && (!panicked(&complaint) || out_of_memory(&complaint)) => {
            Err(LoadError::CompileLimit { limit: "compile_memory_bytes", allowed: limits.compile_memory_bytes })
        }
        _ => Err(failed("the compiling process died")),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // A banner is short; machine code is searched no further.
    haystack.windows(needle.len()).take(64 << 10).position(|window| window == needle)
}

fn panicked(complaint: &[u8]) -> bool {
    String::from_utf8_lossy(complaint).contains("panicked at")
}

/// What Rust's allocator and the threads of the compiler say when memory is refused.
fn out_of_memory(complaint: &[u8]) -> bool {
    let text = String::from_utf8_lossy(complaint);
    ["memory allocation of", "Cannot allocate memory", "OutOfMemory", "Resource temporarily unavailable"]
        .iter()
        .any(|words| text.contains(words))
}
