#!/usr/bin/env python3
"""Tests of scripts/prose.py: what counts as a sentence, a paragraph, a wide line, a private phrase."""

import importlib.util
import os
import sys
import unittest

sys.dont_write_bytecode = True

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prose.py")
SPEC = importlib.util.spec_from_file_location("prose", PATH)
prose = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(prose)

# A sentence of 24 words, so that one or two more words make the difference.
TWENTY_FOUR = "One " + "two " * 22 + "end"


def words(name, text):
    """The number of words of each sentence, with the line that it begins on."""
    return [found for paragraph in prose.paragraphs(name, text) for found in prose.sentences(paragraph)]


class Sentences(unittest.TestCase):
    def test_a_sentence_of_25_words_is_allowed_and_one_of_26_is_found(self):
        self.assertEqual(prose.long_sentences("a.md", f"{TWENTY_FOUR} fits.\n"), [])
        found = prose.long_sentences("a.md", f"Short one.\n\n{TWENTY_FOUR} is long.\n")
        self.assertEqual(found, [(3, "a sentence of 26 words: at most 25")])

    def test_sentences_go_on_over_lines_and_begin_on_their_own(self):
        self.assertEqual(words("a.md", "One two. Three\nfour five.\nSix?\n"), [(1, 2), (1, 3), (3, 1)])

    def test_a_code_span_and_the_address_of_a_link_are_no_words(self):
        self.assertEqual(words("a.md", "Call `a b c. D` with [two words](a b c).\n"), [(1, 5)])
        self.assertEqual(words("a.md", "Ends with `code`. [Link](x) begins.\n"), [(1, 3), (1, 2)])

    def test_abbreviations_and_numbers_end_no_sentence(self):
        self.assertEqual(words("a.md", "A bus, e.g. Linux 6.18 or 3.5 s, i.e. Two.\n"), [(1, 10)])

    def test_code_tables_headings_and_labels_are_skipped(self):
        text = "# A heading of words\n\n| a | table |\n\n```text\nno prose. At all.\n```\n\n* **Label.** Two words.\n"
        self.assertEqual(words("a.md", text), [(9, 2)])

    def test_a_list_item_is_a_text_of_its_own(self):
        self.assertEqual(words("a.md", "A list:\n* one two\n  three\n1. four\n"), [(1, 2), (2, 3), (4, 1)])

    def test_comments_of_one_mark_are_one_text(self):
        text = "//! One two\n//! three.\n\nfn a() {\n    // Four\n    // five.\n    /// Six.\n    b();\n}\n"
        self.assertEqual(words("a.rs", text), [(1, 3), (5, 2), (7, 1)])

    def test_code_of_rust_and_examples_in_its_documentation_are_no_prose(self):
        text = '/// One.\n/// ```\n/// let two = "three four";\n/// ```\nlet text = "Five. Six.";\n'
        self.assertEqual(words("a.rs", text), [(1, 1)])


class Lines(unittest.TestCase):
    def found(self, name, text):
        return [what for _, what in prose.phrases(name, text)]

    def test_wide_lines_are_found_but_for_tables_and_what_cannot_be_wrapped(self):
        wide = "word " * 30
        self.assertEqual(len(self.found("a.md", f"{wide}\n| {wide} |\n`{wide}`\nhttps://{'a' * 120}\n")), 1)
        self.assertEqual(len(self.found("a.rs", f"// {wide}\nlet a = \"{wide}\";\n")), 1)

    def test_private_phrases_are_found_outside_of_code(self):
        self.assertEqual(len(self.found("a.md", "The server is told so.\n")), 1)
        self.assertEqual(self.found("a.md", "The field `is told` stays.\n"), [])
        self.assertEqual(self.found("a.rs", "fn who_waits() {} // who waits\n"), [])


if __name__ == "__main__":
    unittest.main()
