//! Lists the files of the lessons, and the pages that they link to, for `src/serve/lessons.rs`, which embeds them.
//!
//! In the repository they are in `docs`. A published package has a copy of them in its own `docs`, because Cargo follows the
//! symbolic link of that name. The link itself is of no use here: Git on Windows checks it out as a text file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The pages outside of `docs/lessons` that lessons link to.
const CITED: [&str; 4] = ["clauses.md", "clauses.pt-BR.md", "dispatcher.md", "dispatcher.pt-BR.md"];

fn main() -> io::Result<()> {
    let package = variable("CARGO_MANIFEST_DIR");
    let folders = [package.join("../docs"), package.join("docs")];
    let is_there = |docs: &PathBuf| docs.join("lessons/README.md").is_file();
    let Some(docs) = folders.into_iter().find(is_there) else {
        return Err(io::Error::other("neither ../docs nor the copy of a package is there"));
    };
    let mut files = CITED.map(|name| (name.to_owned(), docs.join(name))).to_vec();
    for path in files.iter().map(|(_, path)| path).chain([&docs.join("lessons")]) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    collect(&docs.join("lessons"), "lessons/", &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        writeln!(list, "({name:?}, include_bytes!({path:?})),").expect("a string takes everything");
    }
    fs::write(variable("OUT_DIR").join("lessons.rs"), list + "]\n")
}

/// Returns the path in an environment variable that Cargo sets.
fn variable(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("Cargo sets {name}")).into()
}

/// Adds the files in a folder and its subfolders, each with its name relative to `docs`. Hidden files and caches of Python are
/// left out.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) || name == "node_modules" {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &format!("{prefix}{name}/"), files)?,
            false => files.push((format!("{prefix}{name}"), entry.path())),
        }
    }
    Ok(())
}
