"""Plays one page in a network namespace of its own: types what it says, compares what it shows.

usage: unshare --map-root-user --mount --net --pid --fork --kill-child python3 play.py PAGE FRAMEWISE WORK UPDATE(0|1) PATIENCE

Prints a line for each block, which begins with "ok" or "FAILED".
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import builds
import compare
import page as pages
from terminal import Screen, Terminal

# Programs that every page may use. The others have to be in its line "You need", so that a student has them.
EVERYWHERE = "framewise bash sh cat cp cut env grep head ls mkdir mv rm sed seq sleep sort tail tee tr true wc".split()

# How many seconds a program that goes on must show nothing more than the page does. A page that is right never fails for it,
# because what comes later belongs to a later block; a page that leaves lines out does.
QUIET = 0.3

# How many seconds a program that finishes by itself may take, also when its output is not waited for as long.
PATIENCE_OF_PROGRAMS = 20


class Player:
    def __init__(self, path, framewise, work, update, patience):
        self.path, self.work, self.update, self.patience = path, work, update, patience
        self.text = path.read_text()
        self.lang = path.parent.name
        self.lesson = f"{self.lang}/{path.name}"
        self.terminals = {}
        self.failed = 0
        # What to write into the page: for each line, how many lines to replace by which.
        self.edits = []
        self.programs(framewise)
        self.folder = work / "files"
        files = path.parent.parent / "files"
        if files.is_dir():
            shutil.copytree(files, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            self.folder.mkdir()
        (work / "home").mkdir()
        packages = self.packages()
        self.screen = Screen(work)
        self.environment = {
            "PATH": work / "bin",
            "HOME": work / "home",
            # The texts of framewise are in the language of the page; those of other programs in English.
            "LC_ALL": "C.UTF-8",
            "FRAMEWISE_LANG": self.lang,
            "PYTHONDONTWRITEBYTECODE": "1",
            **packages,
        }
        if (work / "bin" / "cargo").exists():
            self.environment |= builds.mount(work, files, framewise)
            self.folder = files

    def programs(self, framewise):
        """Makes the folder that is the PATH."""
        folder = self.work / "bin"
        folder.mkdir()
        needs, line = pages.needs(self.text, self.lang)
        for name in EVERYWHERE + needs:
            known = {"framewise": framewise, "python3": sys.executable}
            program = known.get(name) or shutil.which(name)
            if not program:
                raise pages.Malformed(f"{line}: missing: {name}; .ci/install installs it")
            if not (folder / name).exists():
                (folder / name).symlink_to(pathlib.Path(program).resolve() if name == "python3" else program)

    def packages(self):
        """Returns the variable by which Python finds its packages, if the page needs one."""
        folder = pathlib.Path(os.environ["LESSONS_PACKAGES"])
        names = pages.packages(self.text, self.lang)
        for name in names:
            if not (folder / name).exists():
                line = pages.needs(self.text, self.lang)[1]
                raise pages.Malformed(f"{line}: missing: the package {name}; cli/tests/interop/requirements.txt pins it")
        return {"PYTHONPATH": folder} if names else {}

    def report(self, is_fine, line, text, rows=()):
        print(f"{'ok    ' if is_fine else 'FAILED'} {self.lesson}:{line}: {text}")
        for row in rows:
            print(row)
        sys.stdout.flush()
        self.failed += not is_fine

    def play(self):
        for block in pages.blocks(self.text):
            if name := block.option("file"):
                (self.folder / name).write_text("".join(line + "\n" for line in block.text))
            if block.language != "console":
                continue
            if not self.block(block):
                # What comes after it depends on it.
                break
        self.screen.close()
        if self.edits:
            self.write()

    def block(self, block):
        """Plays a block. Returns whether the page can go on."""
        name = block.option("terminal", "1")
        random = [word for word in block.option("random", "").split(",") if word]
        if unknown := set(random) - set(compare.RANDOM):
            raise pages.Malformed(f"{block.line}: random={unknown.pop()} is not known")
        if name not in self.terminals:
            self.terminals[name] = Terminal(self.screen, name, self.folder, self.environment, self.patience)
        terminal = self.terminals[name]
        steps = block.steps()
        for index, step in enumerate(steps):
            if step.kind == "command":
                if terminal.running:
                    self.report(False, step.line, f"in terminal {name} there still runs: {terminal.running}")
                    return False
                terminal.command(step.typed, block.option("input"))
            elif not terminal.running:
                self.report(False, step.line, f"in terminal {name} nothing runs that could show this")
                return False
            elif step.kind == "input":
                terminal.input(step.typed[0])
            elif step.kind == "interrupt":
                terminal.interrupt()
            following = steps[index + 1].kind if index + 1 < len(steps) else ("" if "runs" in block.words else "command")
            if not self.shows(terminal, step, following, random, "tail" in block.words, block.indent):
                return False
        self.report(True, block.line, steps[0].typed[0] if steps and steps[0].typed else f"terminal {name}")
        return True

    def shows(self, terminal, step, following, random, tail, indent):
        """Waits until the terminal shows the output of a step, and until the next one can be typed. Reports whether it does."""
        must_finish = following == "command"
        state = {"lines": None, "since": time.monotonic()}

        def is_shown():
            lines, waits, has_finished = terminal.output()
            if lines != state["lines"]:
                state["since"] = time.monotonic()
            state.update(lines=lines, has_finished=has_finished)
            compared = lines[-len(step.output) :] if tail else lines
            fits = compare.equal(compared, step.output, random) and (step.output or not self.update)
            is_quiet = time.monotonic() - state["since"] >= QUIET
            return has_finished or (fits and is_quiet and not must_finish and (waits or following != "input"))

        # An update waits for what a page does not show yet. A program that finishes by itself may take its time.
        in_time = terminal.wait(is_shown, max(self.patience, PATIENCE_OF_PROGRAMS) if must_finish else None)
        lines, has_finished = state["lines"], state["has_finished"]
        compared = lines[-len(step.output) :] if tail else lines
        is_equal = compare.equal(compared, step.output, random)
        terminal.took(len(lines))
        if has_finished:
            terminal.finish()
        if not is_equal and not self.update:
            line, rows = compare.difference(compared, step.output, step.output_line, random)
            self.report(False, line, "the terminal shows something else (- on the page, + in the terminal)", rows)
            return False
        if not is_equal:
            self.edits.append((step.output_line, len(step.output), [indent + line if line else "" for line in lines]))
        if has_finished and not must_finish:
            self.report(False, step.line, "the program has finished, and the page says that it still runs")
            return False
        if must_finish and not has_finished:
            self.report(False, step.line, f"the program still runs after {self.patience} s; if it has to, the block needs 'runs'")
            return False
        if not in_time and not self.update:
            self.report(False, step.line, "the program does not wait for a line")
            return False
        return True

    def write(self):
        """Writes what the terminals have shown into the page."""
        lines = self.text.split("\n")
        for line, count, shown in sorted(self.edits, reverse=True):
            while shown and not shown[-1]:
                shown.pop()
            lines[line - 1 : line - 1 + count] = shown
        self.path.write_text("\n".join(lines))
        print(f"updated {self.path}")


def main():
    path, framewise, work = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    player = None
    try:
        player = Player(path, framewise, work, sys.argv[4] == "1", float(sys.argv[5]))
        player.play()
    except (pages.Malformed, OSError) as error:
        print(f"FAILED {path.parent.name}/{path.name}:{error}" if isinstance(error, pages.Malformed) else f"FAILED {path.parent.name}/{path.name}:1: {error}")
        return 1
    finally:
        if player:
            player.screen.close()
    return player.failed > 0


if __name__ == "__main__":
    sys.exit(main())
