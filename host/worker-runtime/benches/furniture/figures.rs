//! The figures, what they are to be, and where they are written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Outcome, say};

/// What a figure is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// One ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) measured: f64,
    /// What it is to be.
    pub(crate) target: Target,
}

impl Figure {
    fn is_reached(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.measured <= most,
            Target::AtLeast(least) => self.measured >= least,
        }
    }
}

/// The figures as a table for people.
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

/// The figures as one JSON object, in their order.
fn json(figures: &[Figure]) -> String {
    let members: Vec<String> =
        figures.iter().map(|figure| format!("  \"{}\": {}", figure.name, short(figure.measured))).collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

/// Three digits that count.
fn short(value: f64) -> String {
    let before = if value > 0.0 { value.log10().floor() } else { 0.0 };
    let digits = (2.0 - before).clamp(0.0, 9.0);
    format!("{value:.*}", digits as usize)
}

/// Writes the figures to `bench/NAME.json` in the workspace's target folder.
pub(crate) fn write(name: &str, figures: &[Figure]) -> Outcome<()> {
    let file = folder()?.join(format!("{name}.json"));
    std::fs::write(&file, json(figures))?;
    say(&format!("wrote {}", file.display()));
    Ok(())
}

/// `bench` in the target folder that this program was built in.
pub(crate) fn folder() -> Outcome<PathBuf> {
    // Cargo names `tmp` in the target folder; a mark in the folder itself is there only where cargo made it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("cargo named no target folder")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
