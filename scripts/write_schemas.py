#!/usr/bin/env python3
"""Writes src/lower/onnx_schemas.def, a row for each version of each operator, from ONNX's own schemas.

  build/venv/bin/python scripts/write_schemas.py [--check]

With --check, only says whether the file is what it would write (status 1 if it is not).
"""
import re
import sys
from pathlib import Path

import onnx
from onnx.defs import OpSchema, get_all_schemas_with_history

TARGET = Path(__file__).parents[1] / "src/lower/onnx_schemas.def"

# onrush::name(DType) by ONNX's name, where they differ.
SHORT = {
    "float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16",
    "complex64": "c64", "complex128": "c128",
    "float8e4m3fn": "f8e4m3fn", "float8e4m3fnuz": "f8e4m3fnuz", "float8e5m2": "f8e5m2",
    "float8e5m2fnuz": "f8e5m2fnuz", "float8e8m0": "f8e8m0", "float4e2m1": "f4e2m1",
    **{f"int{bits}": f"i{bits}" for bits in (2, 4, 8, 16, 32, 64)},
    **{f"uint{bits}": f"u{bits}" for bits in (2, 4, 8, 16, 32, 64)},
}  # fmt: skip
MARKS = {
    OpSchema.FormalParameterOption.Single: "",
    OpSchema.FormalParameterOption.Optional: "?",
    OpSchema.FormalParameterOption.Variadic: "*",
}


def short(type_text):
    """"f32" for "tensor(float)"; "seq(f32)"; "map" for all maps."""
    text = re.sub(r"map\([^)]*\)", "map", type_text)
    text = re.sub(r"tensor\((\w+)\)", lambda match: SHORT.get(match[1], match[1]), text)
    assert "sparse" not in text
    return text


def short_set(type_texts):
    """The types one after another, those of each kind together: "f32 i64 seq(f32 i64)"."""
    kinds = {}
    for text in sorted(set(map(short, type_texts))):
        kind, _, element = text.rpartition("(")
        kinds.setdefault(kind, []).append(element.rstrip(")"))
    return " ".join(
        f"{kind}({' '.join(elements)}{')' * (kind.count('(') + 1)}" if kind else " ".join(elements)
        for kind, elements in kinds.items()
    )


def parameters(formal):
    parts = []
    for parameter in formal:
        mark = MARKS[parameter.option]
        if mark == "*":
            mark += str(parameter.min_arity) + ("" if parameter.is_homogeneous else "~")
        of = parameter.type_str
        parts.append(f"{parameter.name}{mark} {short(of) if '(' in of else of}")
    return ", ".join(parts)


def constraints(schema):
    used = {parameter.type_str for parameter in [*schema.inputs, *schema.outputs]}
    parts = []
    for constraint in schema.type_constraints:
        if constraint.type_param_str in used:
            types = short_set(constraint.allowed_type_strs)
            parts.append(f"{constraint.type_param_str}: {types}")
    return ", ".join(parts)


def attributes(schema):
    return ", ".join(
        f"{name}{'!' * attribute.required} {attribute.type.name.lower()}"
        for name, attribute in sorted(schema.attributes.items())
    )


def row(schema):
    def quoted(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    first = f"{{{quoted(schema.domain)}, {quoted(schema.name)}, {schema.since_version}, "
    first += "true" if schema.deprecated else "false"
    rest = [parameters(schema.inputs), parameters(schema.outputs)]
    rest += [constraints(schema), attributes(schema)]
    return first + ", " + ", ".join(map(quoted, rest)) + "},"


def text():
    schemas = sorted(
        get_all_schemas_with_history(), key=lambda s: (s.domain, s.name, s.since_version)
    )
    head = (
        f"// Written by scripts/write_schemas.py from ONNX {onnx.__version__}. Fields: see OpSchemaRow "
        "in op_schema.cpp.\n"
    )
    return head + "\n".join(map(row, schemas)) + "\n"


def main():
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"{TARGET}: run {sys.argv[0]}" if TARGET.read_text() != text() else 0)
    TARGET.write_text(text())


if __name__ == "__main__":
    main()
