"""Checks the form of the pages: what every lesson has, that both languages have the same pages, that links lead somewhere, and
that commands that a Unix shell runs have their form for PowerShell."""

import re

import page as pages

OTHER = {"en": "pt", "pt": "en"}

# What every lesson has, in each language.
PARTS = {
    "en": ["- **Goal:** ", "- **Time:** ", "- **You need:** ", "\n## Exercises\n", "<summary>"],
    "pt": ["- **Objetivo:** ", "- **Tempo:** ", "- **Você precisa de:** ", "\n## Exercícios\n", "<summary>"],
}
TIME = {"en": r"- \*\*Time:\*\* (\d+) minutes", "pt": r"- \*\*Tempo:\*\* (\d+) minutos"}


def needs_other_form(command):
    """Reports whether PowerShell needs another form of a command."""
    return not re.fullmatch(r"(cargo|cd|framewise) [^|&;<>()$\\']*", command)


def faults(path, text):
    """Returns the faults of a page, each with its line."""
    lang = path.parent.name
    found = []

    def fault(line, words):
        found.append(f"{lang}/{path.name}:{line}: {words}")

    lines = text.splitlines()
    other = f"(../{OTHER[lang]}/{path.name})"
    if other not in "\n".join(lines[:6]):
        fault(1, f"there is no link to {other} in the first lines")
    if re.match(r"\d\d-", path.name) and not path.name.endswith("-worksheet.md"):
        for part in PARTS[lang]:
            if part not in text:
                fault(1, f"a lesson has {part.strip()!r}")
        minutes = re.search(TIME[lang], text)
        if not minutes or not 20 <= int(minutes[1]) <= 40:
            fault(1, "a lesson takes 20 to 40 minutes")
        worksheet = f"({path.stem}-worksheet.md)"
        if worksheet not in text:
            fault(1, f"there is no link to the worksheet, {worksheet}")
    if path.name.endswith("-worksheet.md") and "<summary>" not in text:
        fault(1, "a worksheet has a folded key")
    try:
        blocks = pages.blocks(text)
        consoles = [(block, block.steps()) for block in blocks if block.language == "console"]
    except pages.Malformed as error:
        fault(*str(error).split(": ", 1))
        return found
    inside = {number for block in blocks for number in range(block.line, block.line + len(block.text) + 2)}
    depth, folded = 0, set()
    for number, line in enumerate(lines, 1):
        if depth:
            folded.add(number)
        if number in inside:
            continue
        depth += line.count("<details") - line.count("</details>")
        if depth not in (0, 1):
            fault(number, "<details> and </details> do not alternate")
            depth = 0
        # Markdown is only rendered after an empty line.
        if line.endswith("</summary>") and number < len(lines) and lines[number].strip():
            fault(number + 1, "after </summary> there is an empty line")
        if line.strip() == "</details>" and lines[number - 2].strip():
            fault(number, "before </details> there is an empty line")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", line):
            if not (path.parent / target).exists():
                fault(number, f"{target} does not exist")
    if depth:
        fault(len(lines), "a <details> is not closed")
    for block, steps in consoles:
        if not any(step.kind == "command" and needs_other_form(" ".join(step.typed)) for step in steps):
            continue
        # In its section, or in its fold if it is in one.
        ends = r"#|\s*</details>" if block.line in folded else "#"
        is_end = lambda number: number not in inside and re.match(ends, lines[number - 1])
        end = next((number for number in range(block.line, len(lines) + 1) if is_end(number)), len(lines) + 1)
        if not any(other.language == "powershell" and block.line < other.line < end for other in blocks):
            fault(block.line, "a command needs its form for PowerShell, in a block of powershell after it")
    return found


def check(lessons):
    """Returns a line for each page, and one for each fault."""
    log = []
    names = {lang: {path.name for path in (lessons / lang).glob("*.md")} for lang in OTHER}
    for lang, other in OTHER.items():
        for name in sorted(names[lang] - names[other]):
            log.append(f"FAILED {lang}/{name}:1: there is no {other}/{name}")
        for path in sorted((lessons / lang).glob("*.md")):
            found = faults(path, path.read_text())
            log += [f"FAILED {fault}" for fault in found] or [f"ok     {lang}/{path.name}: form"]
            index = lessons / ("README.pt-BR.md" if lang == "pt" else "README.md")
            if re.match(r"\d\d-", path.name) and f"({lang}/{path.name})" not in index.read_text():
                log.append(f"FAILED {index.name}:1: there is no link to {lang}/{path.name}")
    return "".join(line + "\n" for line in log)
