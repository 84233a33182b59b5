//! Lists the files of the lessons for `src/serve/lessons.rs`, which embeds them.
//!
//! In the repository they are in `docs/lessons`. A published package has no `docs`, but a copy in `lessons`, because Cargo
//! follows the symbolic link of that name. The link itself is of no use here: Git on Windows checks it out as a text file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let package = variable("CARGO_MANIFEST_DIR");
    let folders = [package.join("../docs/lessons"), package.join("lessons")];
    let is_there = |folder: &PathBuf| folder.join("README.md").is_file();
    let Some(folder) = folders.into_iter().find(is_there) else {
        return Err(io::Error::other("neither docs/lessons nor the copy of a package is there"));
    };
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    collect(&folder, "", &mut files)?;
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

/// Adds the files in a folder and its subfolders, each with its name relative to the lessons. Hidden files and caches of Python
/// are left out.
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
