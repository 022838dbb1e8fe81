"""Small models, made with onnx.helper."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, STRING, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.STRING,
    TensorProto.INT64,
    TensorProto.BOOL,
)
tensor = helper.make_tensor_value_info
sequence = helper.make_tensor_sequence_value_info
node = helper.make_node


def optional(name, element, shape):
    type_ = helper.make_optional_type_proto(helper.make_tensor_type_proto(element, shape))
    return helper.make_value_info(name, type_)


def model(nodes, inputs, outputs, initializers=(), opset=20, **fields):
    """The bytes of a model."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for name, value in fields.items():
        setattr(made, name, value)
    return made.SerializeToString()


def identity(element, shape, opset=20):
    x, y = tensor("x", element, shape), tensor("y", element, shape)
    return model([node("Identity", ["x"], ["y"])], [x], [y], opset=opset)


# z[N, 3] = x[N, 3] + y[3]
ADD = model(
    [node("Add", ["x", "y"], ["z"])],
    [tensor("x", FLOAT, ["N", 3]), tensor("y", FLOAT, [3])],
    [tensor("z", FLOAT, ["N", 3])],
)

# z = x + w, where w has a default
DEFAULTED = model(
    [node("Add", ["x", "w"], ["z"])],
    [tensor("x", FLOAT, [3]), tensor("w", FLOAT, [3])],
    [tensor("z", FLOAT, [3])],
    [numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")],
)

# z = x + w, where w is a constant
WEIGHTED = model(
    [node("Add", ["x", "w"], ["z"])],
    [tensor("x", FLOAT, [3])],
    [tensor("z", FLOAT, [3])],
    [numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")],
)

MATMUL = model(
    [node("MatMul", ["x", "y"], ["z"], name="mm")],
    [tensor("x", FLOAT, None), tensor("y", FLOAT, None)],
    [tensor("z", FLOAT, None)],
)

TO_SEQUENCE = model(
    [node("SequenceConstruct", ["x", "x"], ["s"])],
    [tensor("x", FLOAT, [2])],
    [sequence("s", FLOAT, None)],
)
SEQUENCE_LENGTH = model(
    [node("SequenceLength", ["s"], ["n"])], [sequence("s", FLOAT, None)], [tensor("n", INT64, [])]
)
SEQUENCE_AT = model(
    [node("SequenceAt", ["s", "i"], ["x"])],
    [sequence("s", FLOAT, None), tensor("i", INT64, [])],
    [tensor("x", FLOAT, None)],
)

HAS_ELEMENT = model(
    [node("OptionalHasElement", ["o"], ["b"])], [optional("o", FLOAT, [2])], [tensor("b", BOOL, [])]
)
TO_OPTIONAL = model(
    [node("Optional", ["x"], ["o"])], [tensor("x", FLOAT, [2])], [optional("o", FLOAT, [2])]
)
EMPTY_OPTIONAL = model(
    [node("Optional", [], ["o"], type=helper.make_tensor_type_proto(FLOAT, [2]))],
    [],
    [optional("o", FLOAT, [2])],
)

# A long run: 2**n steps of a loop.
LOOP = model(
    [
        node(
            "Loop",
            ["n", "", "x"],
            ["y"],
            body=helper.make_graph(
                [node("Identity", ["go"], ["go_on"]), node("Sin", ["state"], ["next"])],
                "body",
                [tensor("i", INT64, []), tensor("go", BOOL, []), tensor("state", FLOAT, [4])],
                [tensor("go_on", BOOL, []), tensor("next", FLOAT, [4])],
            ),
        )
    ],
    [tensor("n", INT64, []), tensor("x", FLOAT, [4])],
    [tensor("y", FLOAT, [4])],
)

DESCRIBED = onnx.load_from_string(identity(FLOAT, None))
DESCRIBED.producer_name, DESCRIBED.domain, DESCRIBED.model_version = "maker", "d", 7
DESCRIBED.doc_string, DESCRIBED.graph.doc_string = "what it is", "what the graph is"
helper.set_model_props(DESCRIBED, {"key": "value"})
DESCRIBED = DESCRIBED.SerializeToString()
