"""Models that are broken in one way: refused where onnxruntime refuses them to load, with its class.

Each operator of ONNX's backend suite is taken with one of its models, which is then broken in all the
ways of ``breakages``. The differences that there are stand in refusals.txt, which is to shrink:
``python test_refusals.py`` writes it.
"""

import contextlib
import faulthandler
import functools
import multiprocessing
import os
import pathlib
import subprocess
import sys

import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto

import onrush.ort

SUITE = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
TABLE = pathlib.Path(__file__).parent / "refusals.txt"
ROOT = pathlib.Path(__file__).parents[2]
LARGEST = 1 << 16  # bytes of a model

OTHER_TYPES = {
    TensorProto.FLOAT: [TensorProto.DOUBLE, TensorProto.STRING],
    TensorProto.INT64: [TensorProto.INT32, TensorProto.FLOAT],
}


def outcome(module, model):
    """"loads", or the class of the exception."""
    options = module.SessionOptions()
    options.log_severity_level = 4
    try:
        module.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        return type(error).__name__
    return "loads"


def outcomes(module, models):
    """Those of the models, found in a process of its own, which some of them crash."""
    results = []
    while len(results) < len(models):
        reader, writer = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            for model in models[len(results) :]:
                writer.send(outcome(module, model))
            os._exit(0)
        writer.close()
        with contextlib.suppress(EOFError):
            while True:
                results.append(reader.recv())
        if os.waitpid(child, 0)[1]:
            results.append("crashes")
    return results


def operator_node(model):
    """The one node that is no constant; None if there are several."""
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    return nodes[0] if len(nodes) == 1 else None


@functools.cache
def models():
    """A model of each operator, by name: the first that onnxruntime loads."""
    found = {}
    for folder in sorted(SUITE.iterdir()):
        file = folder / "model.onnx"
        if "_expanded" in folder.name or file.stat().st_size > LARGEST:
            continue
        model = onnx.load(file)
        if (node := operator_node(model)) is None:
            continue
        name = f"{node.domain}.{node.op_type}".lstrip(".")
        if name not in found and outcome(onnxruntime, model) == "loads":
            found[name] = model
    return found


# --- ways to break a node: functions of the graph and the node


def append_input(graph, node):
    node.input.append(node.input[0] if node.input else "another")


def append_attribute(graph, node):
    node.attribute.append(AttributeProto(name="another", type=AttributeProto.INT, i=1))


def clear_outputs(graph, node):
    node.ClearField("output")
    graph.ClearField("output")


def leave_out_input(i):
    return lambda graph, node: node.input.__setitem__(i, "")


def declare(kind, i, element):
    """Another type of an input or output of the graph."""

    def change(graph, node):
        getattr(graph, kind)[i].type.tensor_type.elem_type = element

    return change


def without_attribute(i):
    return lambda graph, node: node.attribute.pop(i)


def renamed_attribute(i):
    def change(graph, node):
        node.attribute[i].name += "_"

    return change


def retyped_attribute(i):
    def change(graph, node):
        name = node.attribute[i].name
        other = AttributeProto(name=name, type=AttributeProto.FLOAT, f=1)
        if node.attribute[i].type == AttributeProto.FLOAT:
            other = AttributeProto(name=name, type=AttributeProto.INT, i=1)
        node.attribute[i].CopyFrom(other)

    return change


def breakages(model):
    """{what is wrong: function of the graph and its node}"""
    node = operator_node(model)
    ways = {
        "an input more": append_input,
        "no outputs": clear_outputs,
        "an output more": lambda graph, node: node.output.append("another"),
        "an attribute more": append_attribute,
    }
    if node.input:
        ways["last input gone"] = lambda graph, node: node.input.pop()
    for i, name in enumerate(node.input):
        if name:
            ways[f"input {i} left out"] = leave_out_input(i)
    for kind in ("input", "output"):
        for i, value in enumerate(getattr(model.graph, kind)):
            if element := value.type.tensor_type.elem_type:
                for other in OTHER_TYPES.get(element, [TensorProto.FLOAT, TensorProto.STRING]):
                    what = f"{kind} {i} declared as {TensorProto.DataType.Name(other)}"
                    ways[what] = declare(kind, i, other)
    for i, attribute in enumerate(node.attribute):
        ways[f"no attribute {attribute.name}"] = without_attribute(i)
        ways[f"attribute {attribute.name} renamed"] = renamed_attribute(i)
        ways[f"attribute {attribute.name} of another type"] = retyped_attribute(i)
    return ways


def broken_models(model):
    """{what is wrong: model}"""
    made = {}
    for what, change in breakages(model).items():
        made[what] = onnx.ModelProto.FromString(model.SerializeToString())
        change(made[what].graph, operator_node(made[what]))
    return made


def differences(operator):
    """Lines as in the table. To run what onnxruntime has no kernel for is no difference."""
    broken = broken_models(models()[operator])
    theirs = outcomes(onnxruntime, list(broken.values()))
    return [
        f"{operator}: {what}: {ours}, onnxruntime: {their}"
        for (what, model), their in zip(broken.items(), theirs)
        if (ours := outcome(onrush.ort, model)) != their
        and (ours, their) != ("loads", "NotImplemented")
    ]


def test_broken_models():
    """The table holds what differs, neither less nor more."""
    known = TABLE.read_text().splitlines()
    assert len(models()) > 150
    found = [line for operator in models() for line in differences(operator)]
    assert found == known


def test_messages_name_the_node():
    for model in broken_models(models()["Conv"]).values():
        operator_node(model).name = "layer1"
        try:
            onrush.ort.InferenceSession(model.SerializeToString())
        except onrush.ort.errors.OrtError as error:
            assert "node 'layer1' (Conv): " in str(error)


def test_schemas_are_those_of_onnx():
    written = (ROOT / "src/lower/onnx_schemas.def").read_text()
    if f"ONNX {onnx.__version__}." not in written.splitlines()[0]:
        pytest.skip(f"skipped: ONNX {onnx.__version__} is not the version that they are of")
    command = [sys.executable, str(ROOT / "scripts/write_schemas.py"), "--check"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    lines = [line for operator in models() for line in differences(operator)]
    TABLE.write_text("".join(line + "\n" for line in lines))
