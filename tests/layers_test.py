"""The rules about source files: no layer of lib/ includes a later one, and every file fits in the head.

layers_test.py LAYER ...: the layers in their order, as CMakeLists.txt has them."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS = []
MOST_LINES = 400


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".hpp", ".cpp"))


def upward_includes(lib, layers):
    """'file:line: includes "…"' for each quoted include in a layer that names another than itself or an earlier one."""
    found = []
    for position, layer in enumerate(layers):
        allowed = layers[: position + 1]
        for path in sources(lib / layer):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                include = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
                if include and include[1].split("/")[0] not in allowed:
                    found.append(f'{path.relative_to(lib)}:{number}: includes "{include[1]}"')
    return found


def long_files(folders):
    lengths = {path: len(path.read_text().splitlines()) for folder in folders for path in sources(folder)}
    return [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > MOST_LINES]


class Layers(unittest.TestCase):
    def test_every_folder_is_a_layer(self):
        self.assertEqual(sorted(p.name for p in (ROOT / "lib").iterdir() if p.is_dir()), sorted(LAYERS))

    def test_no_layer_includes_a_later_one(self):
        self.assertEqual(upward_includes(ROOT / "lib", LAYERS), [])

    def test_no_file_is_long(self):
        self.assertEqual(long_files([ROOT / "lib", ROOT / "app"]), [])


class TheRulesThemselves(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.lib = pathlib.Path(temporary.name)
        for layer in ("low", "high"):
            (self.lib / layer / "deeper").mkdir(parents=True)

    def test_an_upward_include_is_found(self):
        (self.lib / "low" / "deeper" / "a.hpp").write_text('#include <vector>\n#include "high/b.hpp"\n')
        self.assertEqual(upward_includes(self.lib, ["low", "high"]), ['low/deeper/a.hpp:2: includes "high/b.hpp"'])

    def test_a_downward_include_is_not(self):
        (self.lib / "high" / "b.cpp").write_text('#include "high/b.hpp"\n#include "low/a.hpp"\n')
        self.assertEqual(upward_includes(self.lib, ["low", "high"]), [])

    def test_a_long_file_is_found(self):
        (self.lib / "low" / "a.cpp").write_text("\n" * MOST_LINES)
        self.assertEqual(long_files([self.lib]), [])
        (self.lib / "low" / "a.cpp").write_text("\n" * (MOST_LINES + 1))
        self.assertEqual(long_files([self.lib]), [f"{self.lib}/low/a.cpp: 401 lines"])


if __name__ == "__main__":
    LAYERS = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
