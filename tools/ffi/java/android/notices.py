#!/usr/bin/env python3
"""Prints the licence notices of everything that libqwip is made of: `notices.py TARGET [cargo's feature arguments]`.

One block for each set of the same texts, with the packages that have them. A package without a file of its own is listed
with the licence that it declares. Python's standard library and cargo are enough."""

import html
import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"(?i)^(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?$")


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def standard_library():
    """Rust's own, which is linked in as well."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    folder = pathlib.Path(sysroot, "share", "doc", "rust")
    page = folder / "COPYRIGHT-library.html"
    if not page.is_file():
        return "https://www.rust-lang.org/policies/licenses"
    body = re.sub(r"(?s)<(style|head)\b.*?</\1>", "", page.read_text(encoding="utf-8"))
    text = html.unescape(re.sub(r"<[^>]*>", "", body))
    return re.sub(r"\n\s*\n+", "\n\n", text).strip()


def main():
    target, features = sys.argv[1], sys.argv[2:]
    # What is linked in: neither build scripts nor macros nor what other platforms need.
    tree = cargo("tree", "-p", "qwip-ffi", "-e", "normal,no-proc-macro", "--target", target, "--prefix", "none",
                 "--format", "{p}", "--locked", *features)
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    packages = json.loads(cargo("metadata", "--format-version", "1", "--locked"))["packages"]
    blocks = {}
    for package in packages:
        if (package["name"], "v" + package["version"]) not in linked:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        if package["source"] is None:
            # Our own: the licences lie at the root of the repository.
            folder = pathlib.Path(__file__).resolve().parents[4]
        files = sorted(file for file in folder.iterdir() if file.is_file() and NAMES.match(file.name))
        text = "\n\n".join(file.read_text(encoding="utf-8", errors="replace").strip() for file in files)
        if not text:
            text = "(no licence file in the package) " + ", ".join(package["authors"])
        name = f"{package['name']} {package['version']}: {package['license'] or 'see below'}"
        blocks.setdefault(text, []).append(name)
    if not any(name.startswith("qwip-ffi ") for names in blocks.values() for name in names):
        sys.exit("notices.py: cargo does not know qwip-ffi")
    blocks.setdefault(standard_library(), []).append("The Rust standard library: MIT OR Apache-2.0")
    for text, names in sorted(blocks.items(), key=lambda block: block[1]):
        print("\n".join(names), text, "-" * 80, sep="\n\n")


main()
