"""A terminal with a shell in it (tmux), in which a page is played."""

import re
import subprocess
import time

# Wide enough that no line of a page is wrapped.
WIDTH = 240

# The progress bar of `framewise load`, which is gone when the program is done. Without rows of a histogram, which are indented.
PROGRESS = re.compile(r"[█░]{30} \d+ / \d+$")


class Screen:
    """A tmux server of its own, for the terminals of one page."""

    def __init__(self, folder):
        self.socket = f"{folder}/tmux"
        self.settings = f"{folder}/tmux.conf"
        with open(self.settings, "w") as settings:
            settings.write("set -g history-limit 50000\nset -g status off\n")

    def tmux(self, *arguments, **options):
        command = ["tmux", "-S", self.socket, "-f", self.settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


class Terminal:
    """One shell. Its prompts are numbered, so that it is certain where the output of a command ends."""

    def __init__(self, screen, name, folder, environment, patience):
        self.screen, self.name, self.patience = screen, f"t{name}", patience
        # The number of the prompt at which the last command was typed, or at which the next one will be.
        self.prompt = 1
        # The command that was typed at this prompt, if any.
        self.running = None
        # How many of the lines after this prompt were compared, beginning with the command itself.
        self.taken = 0
        # What the running program shows when it waits for a line.
        self.waits_with = None
        environment = [f"{key}={value}" for key, value in environment.items()]
        # There is no second prompt within a command of several lines.
        shell = ["env", "-i", *environment, "PS1=«$((++_prompt))»$ ", "PS2=", "bash", "--norc", "--noprofile", "-i"]
        screen.tmux("new-session", "-d", "-s", self.name, "-x", str(WIDTH), "-y", "60", "-c", folder, *shell)
        if not self.wait(lambda: "«1»$" in self.capture()):
            raise OSError(f"the shell of terminal {name} does not start:\n{self.capture()}")

    def capture(self):
        return self.screen.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self.name)

    def wait(self, condition, patience=None):
        """Waits until the condition holds, and reports whether it does. A terminal has no events, so it is polled."""
        until = time.monotonic() + (patience or self.patience)
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.03)
        return True

    def look(self):
        """Returns the lines after the prompt that were not compared yet, and whether the next prompt is there."""
        _, _, text = self.capture().partition(f"«{self.prompt}»$")
        # If the output does not end its last line, the prompt comes right after it.
        text, next_prompt, _ = text.partition(f"«{self.prompt + 1}»$")
        lines = [line.rstrip() for line in text.split("\n") if not PROGRESS.match(line)]
        while lines and not lines[-1]:
            lines.pop()
        return lines[self.taken :], bool(next_prompt)

    def paste(self, lines):
        """Types lines, each with Enter after it."""
        text = "".join(line + "\n" for line in lines)
        self.screen.tmux("load-buffer", "-b", self.name, "-", input=text)
        self.screen.tmux("paste-buffer", "-d", "-b", self.name, "-t", self.name)

    def command(self, lines, waits_with):
        """Types a command at the prompt."""
        self.running, self.taken, self.waits_with = lines[0], len(lines), waits_with
        self.paste(lines)

    def input(self, text):
        """Types a line at the prompt of the running program, which is the last line."""
        self.taken += len(self.look()[0])
        self.paste([text])

    def interrupt(self):
        self.screen.tmux("send-keys", "-t", self.name, "C-c")

    def output(self):
        """Returns what the program has shown since the last comparison, and whether it waits for a line or has finished."""
        lines, has_finished = self.look()
        waits = bool(lines) and self.waits_with is not None and lines[-1] == self.waits_with and not has_finished
        return (lines[:-1] if waits else lines), waits, has_finished

    def took(self, count):
        """The first lines of the output were compared."""
        self.taken += count

    def finish(self):
        """Goes on to the prompt after the command."""
        self.prompt += 1
        self.running, self.taken, self.waits_with = None, 0, None
