//! Writes the valid inputs of every target to `corpus/TARGET`, from which `cargo fuzz` starts.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (name, _, seeds) in yoi_fuzz::targets() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        std::fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:02}")), seed)?;
        }
    }
    Ok(())
}
