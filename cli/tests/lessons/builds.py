"""Lets a page build programs in Rust: what `cargo` needs, for pages that have it in their line "You need".

The student's folder is the one of the repository, so that cargo finds the project around it; the copy in which the page is played
is mounted over it, in the mount namespace of the page. The library is built once for all pages, and each page gets a copy of the
build. So cargo compiles only what the page writes.
"""

import os
import pathlib
import shutil
import subprocess

# What cargo calls.
TOOLS = ["rustc", "cc", "ld"]


def folder(framewise):
    """Returns the folder with the build of the library."""
    return framewise.parents[1] / "lessons"


def prepare(pages, root, framewise):
    """Builds the library, if one of the pages needs it."""
    if any("`cargo`" in page.read_text() for page in pages):
        command = ["cargo", "build", "--quiet", "--package", "framewise", "--target-dir", folder(framewise)]
        subprocess.run(command, cwd=root, check=True)


def mount(work, files, framewise):
    """Mounts the copy of the student's folder over `files`, and makes the tools available. Returns the variables that cargo needs."""
    subprocess.run(["mount", "--bind", work / "files", files], check=True)
    for name in TOOLS:
        (work / "bin" / name).symlink_to(shutil.which(name))
    shutil.copytree(folder(framewise), work / "target")
    home = pathlib.Path(os.environ["HOME"])
    return {
        "CARGO_HOME": os.environ.get("CARGO_HOME", home / ".cargo"),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", home / ".rustup"),
        "CARGO_TARGET_DIR": work / "target",
        # There is no network here.
        "CARGO_NET_OFFLINE": "true",
    }
