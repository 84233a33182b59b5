"""Parses a page of the lessons: its fenced blocks, and what a student types in each. README.md describes the notation."""

import re
import shlex
from dataclasses import dataclass, field

# The first words of a line of a block that the student types.
PROMPT = "$ "
INTERRUPT = "^C"


class Malformed(Exception):
    """A page that does not follow the notation. The text begins with the line."""


@dataclass
class Step:
    """What the student types, or nothing, and the lines that the terminal shows then."""

    line: int
    # "command", "input" or "interrupt"; "" at the beginning of a block that shows more of a running program.
    kind: str
    typed: list
    output: list = field(default_factory=list)

    @property
    def output_line(self):
        """The number of the first line of the output."""
        return self.line + (0 if self.kind == "interrupt" else len(self.typed))


@dataclass
class Block:
    """A fenced block. `line` is the line of its fence, `text` its lines without the indentation of the fence."""

    line: int
    language: str
    words: list
    indent: str
    text: list

    def option(self, name, default=None):
        """Returns the value of `name=value` in the info string."""
        values = [word[len(name) + 1 :] for word in self.words if word.startswith(name + "=")]
        return values[0] if values else default

    def steps(self):
        """Returns the steps of a console block."""
        typing = self.option("input")
        steps = [Step(self.line + 1, "", [])]
        continues = False
        for number, text in enumerate(self.text, self.line + 1):
            if continues:
                steps[-1].typed.append(text)
                continues = text.endswith("\\")
            elif text.startswith(PROMPT):
                steps.append(Step(number, "command", [text[len(PROMPT) :]]))
                continues = text.endswith("\\")
            elif typing and text.startswith(typing + " "):
                steps.append(Step(number, "input", [text[len(typing) + 1 :]]))
            elif text.startswith(INTERRUPT):
                steps.append(Step(number, "interrupt", [], [text]))
            else:
                steps[-1].output.append(text)
        if continues:
            raise Malformed(f"{self.line}: the last line of the block ends in a backslash")
        if not steps[0].output and len(steps) > 1:
            del steps[0]
        return steps


OPTIONS = {"console": ("terminal", "input", "random", "runs", "tail"), "": ("file",)}


def blocks(text):
    """Returns the fenced blocks of a page."""
    found, block, fence = [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        if block is None:
            if opening := re.match(r"( *)(`{3,})(.*)", line):
                indent, fence, info = opening.groups()
                try:
                    language, *words = shlex.split(info) or [""]
                except ValueError as error:
                    raise Malformed(f"{number}: {error}") from None
                known = OPTIONS.get(language, OPTIONS[""])
                for word in words:
                    if word.split("=")[0] not in known:
                        raise Malformed(f"{number}: a block of {language or 'text'} has no option '{word}'")
                block = Block(number, language, words, indent, [])
        elif line.strip() == fence:
            found.append(block)
            block = None
        else:
            block.text.append(line.removeprefix(block.indent))
    if block:
        raise Malformed(f"{block.line}: this block is not closed")
    return found


# The line of a lesson with the programs that it needs, in each language.
NEEDS = {"en": "- **You need:**", "pt": "- **Você precisa de:**"}


def needs(text, lang):
    """Returns the programs that a page needs, and the line that lists them."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(NEEDS[lang]):
            return re.findall(r"`([^`]+)`", line), number
    return [], 1


# A package of Python in the same line.
PACKAGE = {"en": r"with the package ([\w-]+)", "pt": r"com o pacote ([\w-]+)"}


def packages(text, lang):
    """Returns the packages of Python that a page needs."""
    _, number = needs(text, lang)
    return re.findall(PACKAGE[lang], text.splitlines()[number - 1])
