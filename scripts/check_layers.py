#!/usr/bin/env python3
"""Checks that each folder under src/ includes only its own files and those of the layers above it.

usage: scripts/check_layers.py [ROOT]
"""
import re
import sys
from pathlib import Path

# From the bottom of the dependencies up: a folder may include folders of earlier lines. Folders of
# one line do not include each other, but for fuse and codegen, whose types refer to each other.
LAYERS = [
    ["base"],
    ["npy", "onnx"],
    ["ir"],
    ["reference"],
    ["lower"],
    ["optimize"],
    ["fuse", "codegen"],
    ["plan"],
    ["backend"],  # the interface, backend.h
    ["backend/reference", "backend/cpu", "backend/cuda"],
    ["runtime", "measure"],
    ["engines"],
    ["explain"],
    ["cli"],
]
MUTUAL = {"fuse", "codegen"}
# Nothing but these knows the ONNX format and its operators.
USERS_OF_ONNX = {"onnx", "lower", "runtime", "engines", "explain", "cli"}

RANK = {folder: rank for rank, layer in enumerate(LAYERS) for folder in layer}
QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
ANY = re.compile(r'^\s*#\s*include\s+([<"][^>"]+[>"])')


def folder_of(path):
    """The layer's folder that a path relative to src/ lies in; None if there is none."""
    parts = path.split("/")
    if parts[0] == "backend" and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0] if parts[0] in RANK else None


def complaint(user, used):
    """Why a file of folder `user` may not include one of folder `used`; None if it may."""
    if user == used or {user, used} == MUTUAL:
        return None
    if RANK[used] >= RANK[user]:
        return f"{user} is not above {used}"
    if used in {"onnx", "lower"} and user not in USERS_OF_ONNX:
        return f"{user} must not know ONNX"
    return None


def check_source(file, source):
    name = str(file.relative_to(source))
    user = folder_of(name)
    if user not in RANK:
        yield f"src/{name}: its folder is in no layer of {Path(__file__).name}"
        return
    for number, line in enumerate(file.read_text().splitlines(), 1):
        match = QUOTED.match(line)
        used = folder_of(match[1]) if match else None
        why = complaint(user, used) if used else None
        if why:
            yield f'src/{name}:{number}: includes "{match[1]}", but {why}'


def check_public_header(file, root):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        match = ANY.match(line)
        if match and not re.fullmatch(r"<(onrush/)?[a-z0-9_.]+>", match[1]):
            where = f"{file.relative_to(root)}:{number}"
            yield f"{where}: includes {match[1]}; public headers stand alone"


def files(folder, *endings):
    return sorted(p for p in folder.rglob("*") if p.suffix in endings)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    sources = files(root / "src", ".h", ".cpp", ".cuh")
    errors = [e for f in sources for e in check_source(f, root / "src")]
    errors += [e for f in files(root / "include", ".h") for e in check_public_header(f, root)]
    for error in errors:
        print(error)
    print(f"layers: {len(sources)} files checked, {len(errors)} wrong includes")
    return 1 if errors or not sources else 0


if __name__ == "__main__":
    sys.exit(main())
