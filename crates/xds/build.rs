//! Generates `wire` from the definitions in `/proto`, which Python shares.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Relative to the package, where cargo runs this: clones share compiled output, and a path
    // fixed when this was compiled would be that of whichever clone came first.
    let folder = Path::new("../../proto");
    let files =
        ["authorization", "ca", "discovery", "workload", "zds"].map(|name| format!("{name}.proto"));
    for file in &files {
        println!("cargo::rerun-if-changed={}", folder.join(file).display());
    }
    let descriptors = protox::compile(&files, [folder])?;
    prost_build::Config::new()
        .include_file("wire.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
