#!/usr/bin/env python3
"""Checks the prose of Markdown files and Rust comments: private phrases and lines over 100 columns.

Prints file:line and what to write instead. scripts/prose-exceptions.txt has the findings per file that are
left; a count may only fall. `scripts/prose.py --update` lowers the counts and drops files that are clean.
"""

import os
import re
import subprocess
import sys

WIDTH = 100
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
EXCEPTIONS = "scripts/prose-exceptions.txt"

# A phrase, and what to write instead. CONTRIBUTING.md has the reasons.
PHRASES = [
    (r"(?<!player )(?<!players )(?<!user )(?<!users )(?<!developer )(?<!developers )(?<!client )"
     r"\bwho (waits?|asks?|comes?|leaves?|connects?|sends?|speaks?|says|has|is|was)\b(?!.*\?)",
     "name the actor: the client, the caller, the runtime"),
    (r"\b(is|are|was|were|be|been|being) told\b", "name who sends what: 'the server reports …'"),
    (r"\b(tells?|told) (it|them|him|nobody|everybody|somebody)\b", "send, notify, report"),
    (r"\bhears? of\b", "receives, learns from"),
    (r"\b(is|was|were|are|been) said\b", "was sent, was received"),
    (r"\bwhat (was|is|were) (said|told|heard)\b", "the messages that were sent"),
    (r"\bwhatever\b", "name the thing"),
    (r"\bin vain\b", "without an answer"),
    (r"\ball the same\b", "still, nevertheless"),
    (r"\b(a|the|its|their|each) wish(es)?\b", "request, ticket"),
    (r"\btakes? back\b", "cancel"),
    (r"\btaken back\b", "cancelled"),
    (r"\bnobody who\b", "no client that"),
    (r"\bby (it|them)sel(f|ves) as well\b", "too"),
]
PHRASES = [(re.compile(pattern, re.I), instead) for pattern, instead in PHRASES]
COMMENT = re.compile(r"^\s*//[/!]? ?(.*)")


def files():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.rs"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    return [name for name in names if name and os.path.exists(os.path.join(ROOT, name))]


def lines_of_prose(name, text):
    """Yields (number, line, prose) of what is prose: no code, no tables for the width."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if name.endswith(".rs"):
            comment = COMMENT.match(line)
            if not comment:
                continue
            prose = comment.group(1)
        else:
            prose = line
        if prose.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if not fenced:
            yield number, line, prose


def findings(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        text = file.read()
    found = []
    for number, line, prose in lines_of_prose(name, text):
        wide = len(line) > WIDTH and not prose.lstrip().startswith("|")
        # A long address or name can't be wrapped.
        if wide and not any(len(word) > WIDTH - 20 for word in prose.split()):
            found.append((number, f"{len(line)} columns: wrap at {WIDTH}"))
        plain = re.sub(r"`[^`]*`", "", prose)
        for pattern, instead in PHRASES:
            match = pattern.search(plain)
            if match and name != "docs/glossary.md":
                found.append((number, f"'{match.group(0)}': {instead}"))
    return found


def exceptions():
    path = os.path.join(ROOT, EXCEPTIONS)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {name: int(count) for count, name in rows}


def main():
    allowed = exceptions()
    counts, wrong, total = {}, False, 0
    for name in files():
        found = findings(name)
        counts[name] = len(found)
        total += len(found)
        if len(found) > allowed.get(name, 0) and "--update" not in sys.argv:
            wrong = True
            for number, text in found:
                print(f"{name}:{number}: {text}")
    if "--update" in sys.argv:
        first = not allowed
        left = {
            name: count if first else min(count, allowed.get(name, 0))
            for name, count in sorted(counts.items()) if count
        }
        with open(os.path.join(ROOT, EXCEPTIONS), "w", encoding="utf-8") as file:
            file.write("# Findings of scripts/prose.py that are left, per file. Only ever lower a number.\n")
            file.writelines(f"{count} {name}\n" for name, count in left.items() if count)
    print(f"prose: {total} findings are left", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
