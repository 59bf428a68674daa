#!/usr/bin/env python3
"""Checks the prose of Markdown files and Rust comments.

Three rules: no private phrases, no lines over 100 columns, no sentences over 25 words. The checker
prints file:line and what to write instead. Two files have the findings per file that are left:
scripts/prose-exceptions.txt for phrases and width, scripts/sentence-exceptions.txt for sentences.
A count may only fall: `scripts/prose.py --update` lowers counts and drops files that are clean.
"""

import os
import re
import subprocess
import sys

WIDTH = 100
WORDS = 25
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
EXCEPTIONS = "scripts/prose-exceptions.txt"
SENTENCES = "scripts/sentence-exceptions.txt"

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
# What stands before a comment's text: lines with the same mark are one text.
MARK = re.compile(r"^\s*//[/!]?")
HEADING = re.compile(r"^#{1,6} ")
# A bullet or a number of a list, and a label in bold letters.
ITEM = re.compile(r"^([*+-]|\d+[.)]) +(?:\[[ x]\] +)?")
LABEL = re.compile(r"^\*\*[^*]+\*\*[.:,]?")
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
# The end of a sentence: a mark, perhaps a bracket or a quotation mark, and a new beginning.
END = re.compile(r"(?<=[.!?])[)\"'”’*_]*\s+(?=[(\"'“‘*_]*[A-Z0-9`\[])")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|approx|no|p)\.$", re.I)


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


def phrases(name, text):
    """Private phrases and lines that are too wide."""
    found = []
    for number, line, prose in lines_of_prose(name, text):
        wide = len(line) > WIDTH and not prose.lstrip().startswith("|")
        # A long address, name or piece of code can't be wrapped.
        pieces = prose.split() + [match.group(0) for match in CODE.finditer(prose)]
        if wide and not any(len(piece) > WIDTH - 20 for piece in pieces):
            found.append((number, f"{len(line)} columns: wrap at {WIDTH}"))
        plain = re.sub(r"`[^`]*`", "", prose)
        for pattern, instead in PHRASES:
            match = pattern.search(plain)
            if match and name != "docs/glossary.md":
                found.append((number, f"'{match.group(0)}': {instead}"))
    return found


def paragraphs(name, text):
    """Yields lists of (number, prose) that are one text: paragraphs, list items, comments."""
    lines, last, mark, code = [], 0, None, False
    for number, line, prose in lines_of_prose(name, text):
        new_mark = MARK.match(line).group(0) if name.endswith(".rs") else None
        bare = prose.strip()
        # Four columns more than the paragraph are code, unless the text of a list goes on.
        code = prose.startswith("    ") and not lines
        skipped = not bare or code or bare.startswith(("|", "<", "[^")) or HEADING.match(bare)
        if lines and (number != last + 1 or new_mark != mark or skipped or ITEM.match(bare)):
            yield lines
            lines = []
        last, mark = number, new_mark
        if not skipped:
            lines.append((number, bare))
    if lines:
        yield lines


def sentences(paragraph):
    """Yields (number of its first line, number of words) of the sentences of a paragraph."""
    first, head = paragraph[0]
    head = LABEL.sub("", ITEM.sub("", head))
    text, starts = "", []
    for number, line in [(first, head), *paragraph[1:]]:
        starts.append((len(text), number))
        text += line + " "
    # A code span is one word, and so is what a link points to; both keep their length.
    text = CODE.sub(lambda match: "X" + "\0" * (len(match.group(0)) - 1), text)
    text = LINK.sub(lambda match: ("[" + match.group(1)).ljust(len(match.group(0)), "\0"), text)
    begin = 0
    ends = [match for match in END.finditer(text) if not ABBREVIATION.search(text[:match.start()])]
    for end in [match.end() for match in ends] + [len(text)]:
        part = text[begin:end].replace("\0", "")
        words = sum(1 for word in part.split() if re.search(r"\w", word))
        yield max(number for start, number in starts if start <= begin), words
        begin = end


def long_sentences(name, text):
    """Sentences of more than WORDS words."""
    found = []
    for paragraph in paragraphs(name, text):
        for number, words in sentences(paragraph):
            if words > WORDS:
                found.append((number, f"a sentence of {words} words: at most {WORDS}"))
    return found


def read_exceptions(path):
    path = os.path.join(ROOT, path)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {name: int(count) for count, name in rows}


def write_exceptions(path, what, counts):
    first = not os.path.exists(os.path.join(ROOT, path))
    allowed = counts if first else read_exceptions(path)
    left = {name: min(count, allowed.get(name, 0)) for name, count in sorted(counts.items())}
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(f"# {what} that scripts/prose.py finds, per file. Only ever lower a number.\n")
        file.writelines(f"{count} {name}\n" for name, count in left.items() if count)


def main():
    rules = [
        (EXCEPTIONS, "Phrases and wide lines", phrases),
        (SENTENCES, "Sentences of too many words", long_sentences),
    ]
    wrong = False
    texts = {}
    for name in files():
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            texts[name] = file.read()
    for path, what, rule in rules:
        allowed = read_exceptions(path)
        found = {name: rule(name, text) for name, text in texts.items()}
        counts = {name: len(findings) for name, findings in found.items()}
        if "--update" in sys.argv:
            write_exceptions(path, what, counts)
        else:
            for name, findings in found.items():
                if len(findings) > allowed.get(name, 0):
                    wrong = True
                    for number, text in findings:
                        print(f"{name}:{number}: {text}")
        print(f"prose: {what.lower()}: {sum(counts.values())} are left", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
