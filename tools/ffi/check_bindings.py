"""Compares the wrappers with the C header: python3 tools/ffi/check_bindings.py [HEADER | --program]

There is no Swift and no Dart where this project is tested, so that a wrong name or a forgotten argument would show on a user's
machine first. This reads the header and looks at every call of a function `qwip_...`:

- Swift: that it exists and gets as many arguments as the header says; status numbers; brackets and quotes.
- Dart: the same for both types of each lookup, and that the native type fits the C type, parameter by parameter.
- Python: the table of argument types, parameter by parameter, and the numbers of its enums.
- docs/embedding.md and the READMEs: names, and the number of arguments in C code.

--program prints the first program of docs/embedding.md instead, to be compiled and run.

With the packages tree-sitter and tree-sitter-swift installed, Swift's grammar is checked as well. Exit status 1 if anything
differs.
"""

import enum
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
faults = []


def fault(path: str, line: int, text: str) -> None:
    faults.append(f"{os.path.relpath(path, ROOT)}:{line}: {text}")


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def blank(match: "re.Match") -> str:
    """Spaces in place of a comment, newlines kept, so that line numbers stay right."""
    return re.sub(r"[^\n]", " ", match.group())


def split(text: str) -> list:
    """What stands between commas that are in no bracket."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "([{<":
            depth += 1
        elif c in ")]}" or (c == ">" and text[i - 1 : i] not in ("-", "=")):
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; -1 if it does not."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    return -1


class Header:
    """Functions as lists of parameter types, constants as numbers."""

    def __init__(self, path: str):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", read(path), flags=re.S)
        self.constants = {name: int(value, 0) for name, value in re.findall(r"#define\s+(QWIP_\w+)\s+\(?(-?\w+)\)?", text)
                          if re.fullmatch(r"-?(0x)?\d+", value)}
        self.constants.update((name, int(value)) for name, value in re.findall(r"\b(QWIP_\w+)\s*=\s*(-?\d+)", text))
        text = re.sub(r"^\s*#.*$", " ", text, flags=re.M)
        # Types that are numbers, and functions to be called: `typedef int32_t (*name)(...)`.
        self.numbers = dict((name, type_) for type_, name in re.findall(r"typedef\s+(u?int\d+_t)\s+(\w+)\s*;", text))
        self.callbacks = set(re.findall(r"typedef\s+[^;{}]*?\(\s*\*\s*(\w+)\s*\)\s*\(", text))
        text = re.sub(r"typedef\s[^;{}]*;", " ", text)
        self.functions = {}
        for match in re.finditer(r"\b(qwip_\w+)\s*\(", text):
            end = closing(text, match.end() - 1)
            if not re.match(r"\s*;", text[end + 1 :]):
                continue
            inside = " ".join(text[match.end() : end].split())
            self.functions[match[1]] = [] if inside == "void" else [self.type_of(p) for p in split(inside)]
        if len(self.functions) < 80 or "QWIP_STATUS_BUSY" not in self.constants:
            sys.exit(f"{path}: {len(self.functions)} functions and {len(self.constants)} constants: it is not read as it should be")

    def type_of(self, parameter: str) -> str:
        """A parameter's type in few words: int32_t, float*, text, out, handle, callback..."""
        if "(" in parameter or any(re.search(rf"\b{name}\b", parameter) for name in self.callbacks):
            return "callback"
        words = re.sub(r"\b(const|struct|enum)\b", " ", parameter)
        stars = words.count("*")
        name = re.findall(r"\w+", words)[0]
        name = self.numbers.get(name, name)
        if name in ("qwip_model", "qwip_session", "qwip_sampler", "qwip_request", "void"):
            return "handle" if stars == 1 else "out"
        if name == "char":
            return "text" if stars == 1 else "out"
        return name + "*" * stars


def check_calls(header: Header, path: str, text: str, skip=()) -> set:
    """Calls `qwip_...(` in a text without comments and strings."""
    seen = set()
    for match in re.finditer(r"\b(qwip_\w+)\b", text):
        name, line = match[1], text.count("\n", 0, match.start()) + 1
        if name in skip:
            continue
        if name not in header.functions:
            fault(path, line, f"{name} is not in the header")
            continue
        seen.add(name)
        after = re.match(r"\s*\(", text[match.end() :])
        if not after:
            continue
        start = match.end() + after.end() - 1
        end = closing(text, start)
        found, expected = len(split(text[start + 1 : end])), len(header.functions[name])
        if found != expected:
            fault(path, line, f"{name} gets {found} arguments, the header says {expected}")
    return seen


def check_swift(header: Header, folder: str) -> None:
    parser = swift_parser()
    used = set()
    for directory, _, files in os.walk(folder):
        for file in sorted(files):
            path = os.path.join(directory, file)
            if not file.endswith(".swift") or "/build/" in path or "/.build/" in path:
                continue
            text = read(path)
            # Comments and texts go; what stands in `\(...)` within a text is looked at where it calls something.
            bare = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)
            inner = re.findall(r"\\\(([^\"]*qwip_[^\"]*)\)", bare)
            for call in inner:
                used |= check_calls(header, path, call)
            bare = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: '""' + " " * (len(m.group()) - 2), bare)
            if bare.count('"') % 2:
                fault(path, 1, "a quote is not closed")
            for open_, close in ("()", "[]", "{}"):
                if bare.count(open_) != bare.count(close):
                    fault(path, 1, f"{bare.count(open_)} of {open_}, {bare.count(close)} of {close}")
            used |= check_calls(header, path, bare)
            for name, value in re.findall(r"static let `?(\w+)`? = Status\(rawValue: (\d+)\)", bare):
                c_name = "QWIP_STATUS_" + re.sub(r"([A-Z])", r"_\1", name).upper()
                if header.constants.get(c_name) != int(value):
                    fault(path, 1, f"{name} is {value}, the header says {c_name} = {header.constants.get(c_name)}")
            if parser:
                tree_faults(parser.parse(text.encode()).root_node, path)
    statuses = re.findall(r"static let `?(\w+)`? = Status", read(os.path.join(folder, "Sources/Qwip/QwipError.swift")))
    if len(statuses) != sum(name.startswith("QWIP_STATUS_") for name in header.constants):
        fault(folder, 1, f"{len(statuses)} statuses, the header has another number of them")
    print(f"Swift: {len(used)} functions of {len(header.functions)}{', grammar checked' if parser else ''}")


def swift_parser():
    try:
        import tree_sitter
        import tree_sitter_swift
    except ImportError:
        return None
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))


def tree_faults(node, path: str) -> None:
    if node.type == "ERROR" or node.is_missing:
        fault(path, node.start_point[0] + 1, f"not Swift: {node.text[:60]!r}")
    for child in node.children:
        tree_faults(child, path)


# How a C type may be written in dart:ffi, natively, and what it is to Dart.
DART = {
    "int32_t": ("Int32", "int"), "int64_t": ("Int64", "int"), "uint32_t": ("Uint32", "int"), "uint64_t": ("Uint64", "int"),
    "size_t": ("Size", "int"), "float": ("Float", "double"), "double": ("Double", "double"), "text": ("Pointer<Utf8>",) * 2,
    "handle": ("Pointer<Void>",) * 2, "out": ("Pointer<Pointer<Void>>",) * 2, "callback": ("Pointer<Void>",) * 2,
    "uint32_t*": ("Pointer<Uint32>",) * 2, "uint64_t*": ("Pointer<Uint64>",) * 2, "uint8_t*": ("Pointer<Uint8>",) * 2,
    "int32_t*": ("Pointer<Int32>",) * 2, "size_t*": ("Pointer<Size>",) * 2, "float*": ("Pointer<Float>",) * 2,
    "double*": ("Pointer<Double>",) * 2,
}


def check_dart(header: Header, path: str) -> None:
    text = re.sub(r"//[^\n]*", blank, read(path))
    lookups = re.findall(r"lookupFunction<\s*(.*?)>\(\s*'(qwip_\w+)'\s*\)", text, flags=re.S)
    names = re.findall(r"'(qwip_\w+)'", text)
    if len(lookups) != len(names) or not names:
        fault(path, 1, f"{len(names)} names of functions, {len(lookups)} lookups that can be read")
    for types, name in lookups:
        line = text.count("\n", 0, text.index(f"'{name}'")) + 1
        if name not in header.functions:
            fault(path, line, f"{name} is not in the header")
            continue
        for which, function in enumerate(split(types)):
            match = re.fullmatch(r"(.+?)\s+Function\((.*)\)", " ".join(function.split()))
            found = split(match[2]) if match else ["?"]
            expected = [DART[type_][which] for type_ in header.functions[name]]
            if found != expected:
                fault(path, line, f"{name}: {found} where the header says {expected}")
    print(f"Dart: {len(lookups)} functions")


def check_python(header: Header, folder: str) -> None:
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    import ctypes

    import qwip

    path = os.path.join(folder, "qwip.py")
    numbers = {ctypes.c_int32: "int32_t", ctypes.c_int64: "int64_t", ctypes.c_uint32: "uint32_t", ctypes.c_uint64: "uint64_t",
               ctypes.c_size_t: "size_t", ctypes.c_uint8: "uint8_t", ctypes.c_float: "float", ctypes.c_double: "double"}
    types = {ctypes.c_char_p: "text", ctypes.c_void_p: "handle", ctypes.POINTER(ctypes.c_void_p): "out", **numbers}
    types.update((ctypes.POINTER(type_), f"{name}*") for type_, name in numbers.items())
    # On 64 bits size_t is the same Python type as uint64_t.
    same = {"size_t": "uint64_t", "size_t*": "uint64_t*"}
    others = {"qwip_abi_version", "qwip_version", "qwip_status_name", "qwip_has_feature", "qwip_string_free"}
    for name in sorted(set(header.functions) - set(qwip._CALLS) - others):
        fault(path, 1, f"{name} is missing")
    for name, arguments in qwip._CALLS.items():
        if name not in header.functions:
            fault(path, 1, f"{name} is not in the header")
            continue
        found = [types.get(type_, "callback") for type_ in arguments]
        if [same.get(t, t) for t in found] != [same.get(t, t) for t in header.functions[name]]:
            fault(path, 1, f"{name}: {found} where the header says {header.functions[name]}")
    prefixes = {"Status": "STATUS", "Kind": "EVENT", "Memory": "MEMORY", "Pressure": "PRESSURE", "Thermal": "THERMAL",
                "CacheType": "CACHE", "Rope": "ROPE"}
    for class_, prefix in prefixes.items():
        values = getattr(qwip, class_)
        assert issubclass(values, enum.IntEnum)
        for value in values:
            if header.constants.get(f"QWIP_{prefix}_{value.name}") != value:
                fault(path, 1, f"{class_}.{value.name} is {int(value)}, which the header does not say")
    print(f"Python: {len(qwip._CALLS)} functions")


def check_text(header: Header, path: str) -> None:
    """C in code blocks is looked at call by call, prose for names alone."""
    text = read(path)
    code = ""
    for block in re.findall(r"```c\n(.*?)```", text, flags=re.S):
        code += re.sub(r'"(?:\\.|[^"\\\n])*"', '""', re.sub(r"/\*.*?\*/|//[^\n]*", " ", block, flags=re.S)) + "\n"
    types = {"qwip_model", "qwip_session", "qwip_sampler", "qwip_request", "qwip_status", *header.callbacks}
    check_calls(header, path, code, skip=types)
    for name in set(re.findall(r"\b(qwip_(?:model|session|sampler|request|set|last|string|version|abi|status|has)\w*)\b", text)):
        # `qwip_sampler_set_*` stands for all that begin so.
        if name not in header.functions and name not in types and not (
            name.endswith("_") and any(function.startswith(name) for function in header.functions)):
            fault(path, 1, f"{name} is not in the header")
    kinds = "STATUS|EVENT|MEMORY|PRESSURE|THERMAL|CACHE|ROPE|TOKENIZE|LOG"
    for name in set(re.findall(rf"\bQWIP_(?:{kinds})_[A-Z0-9_]*[A-Z0-9]", text)):
        if name not in header.constants:
            fault(path, 1, f"{name} is not in the header")


def main() -> int:
    if sys.argv[1:] == ["--program"]:
        print(re.findall(r"```c\n(.*?)```", read(os.path.join(ROOT, "docs", "embedding.md")), flags=re.S)[0])
        return 0
    header = Header(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "include", "qwip.h"))
    check_swift(header, os.path.join(HERE, "swift"))
    check_swift_examples(header)
    check_dart(header, os.path.join(HERE, "examples", "flutter", "lib", "qwip.dart"))
    check_python(header, os.path.join(HERE, "examples", "python"))
    texts = [os.path.join(ROOT, "docs", "embedding.md")]
    for directory, folders, files in os.walk(HERE):
        folders[:] = [name for name in folders if name not in ("target", "build", "node_modules")]
        texts += [os.path.join(directory, name) for name in files if name.endswith(".md")]
    for path in texts:
        check_text(header, path)
    print(f"{len(texts)} texts")
    for line in faults:
        print(line, file=sys.stderr)
    return 1 if faults else 0


def check_swift_examples(header: Header) -> None:
    """The apps use the wrapper, never C."""
    for directory, _, files in os.walk(os.path.join(HERE, "examples")):
        for file in files:
            path = os.path.join(directory, file)
            if file.endswith(".swift"):
                if re.search(r"\bqwip_\w+\(", read(path)):
                    fault(path, 1, "calls C past the wrapper")
                parser = swift_parser()
                if parser:
                    tree_faults(parser.parse(read(path).encode()).root_node, path)


if __name__ == "__main__":
    sys.exit(main())
