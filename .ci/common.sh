# Sourced by the scripts of this folder. They run in the root of the checkout and end with the first command that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Prints a command and runs it.
step() { printf '\n== %s\n' "$*"; "$@"; }

# need COMMAND...: fails if a command is missing. `.ci/install` installs what a package manager has.
need() {
    local command
    for command; do command -v "$command" >/dev/null || { echo "missing: $command"; exit 1; }; done
}

# cargo-deny, built once and kept between runs. Its checks take a second, so it is built without optimisation.
deny_version=0.20.2
deny_root=${XDG_CACHE_HOME:-$HOME/.cache}/framewise-ci/cargo-deny-$deny_version
