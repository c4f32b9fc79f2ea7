//! Figures of a benchmark: targets, the printed table, and the JSON file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Outcome, print};

/// Target of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most this value.
    AtMost(f64),
    /// At least this value.
    AtLeast(f64),
}

/// A measured value, usually a ratio, with its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Name in the JSON file.
    pub(crate) name: &'static str,
    /// Measured value.
    pub(crate) measured: f64,
    /// Target.
    pub(crate) target: Target,
}

impl Figure {
    fn is_reached(&self) -> bool {
        match self.target {
            Target::AtMost(limit) => self.measured <= limit,
            Target::AtLeast(limit) => self.measured >= limit,
        }
    }
}

/// Formats figures as a table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<24} {:>10}  {:<14} reached\n", "ratio", "measured", "target");
    for figure in figures {
        let target = match figure.target {
            Target::AtMost(most) => format!("at most {most}"),
            Target::AtLeast(least) => format!("at least {least}"),
        };
        let reached = if figure.is_reached() { "yes" } else { "NO" };
        let _ = writeln!(text, "{:<24} {:>10}  {target:<14} {reached}", figure.name, short(figure.measured));
    }
    text
}

/// Formats figures as one JSON object, in order.
fn json(figures: &[Figure]) -> String {
    let members: Vec<String> =
        figures.iter().map(|figure| format!("  \"{}\": {}", figure.name, short(figure.measured))).collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

/// Formats a value with three significant digits.
fn short(value: f64) -> String {
    let exponent = if value > 0.0 { value.log10().floor() } else { 0.0 };
    let digits = (2.0 - exponent).clamp(0.0, 9.0);
    format!("{value:.*}", digits as usize)
}

/// Writes the figures to `bench/NAME.json` in the workspace's target folder.
pub(crate) fn write(name: &str, figures: &[Figure]) -> Outcome<()> {
    let file = folder()?.join(format!("{name}.json"));
    std::fs::write(&file, json(figures))?;
    print(&format!("wrote {}", file.display()));
    Ok(())
}

/// Returns the folder `bench` in the target folder of this build, and creates it if necessary.
pub(crate) fn folder() -> Outcome<PathBuf> {
    // Cargo only exposes the path of `tmp` in the target folder, so its parent is the target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("cargo named no target folder")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
