"""A small Llama-like network for a decode loop: past keys and values come in, longer ones go out.

Written as exporters write it: RMS normalisation, rotary embedding and grouped-query attention in
primitive operators, sizes computed from Shape. Inputs: input_ids, position_ids [1, s] and
attention_mask [1, past + s], int64; past_key_values.N.key and .value [1, kv_heads, past, head_dim].
Outputs: logits [1, s, vocabulary], present.N.key and .value.
"""
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save


@dataclass(frozen=True)
class Sizes:
    layers: int = 4
    hidden: int = 256
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32
    intermediate: int = 704
    vocabulary: int = 8000


class GraphWriter:
    """Collects nodes and weights; every method returns the name of its result."""

    def __init__(self):
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(0)
        self.constants = {}

    def node(self, op, *inputs, output=None, **attributes):
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def constant(self, value, dtype=np.int64):
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = self.initializer(f"constant_{len(self.constants)}", array)
        return self.constants[key]

    def weight(self, name, *shape, scale=None):
        scale = scale or shape[0] ** -0.5
        return self.initializer(name, scale * self.random.standard_normal(shape, dtype=np.float32))

    def initializer(self, name, array):
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def linear(self, x, name, rows, columns):
        return self.node("MatMul", x, self.weight(name, rows, columns))

    def scalar(self, op, x, value):
        return self.node(op, x, self.constant(value, np.float32))


def rms_norm(g, x, name, size):
    mean = g.node("ReduceMean", g.scalar("Pow", x, 2), g.constant([-1]), keepdims=1)
    root = g.node("Sqrt", g.scalar("Add", mean, 1e-5))
    weight = g.initializer(name, np.ones(size, np.float32))
    return g.node("Mul", weight, g.node("Div", x, root))


def split_heads(g, x, heads, head_dim):
    """[1, s, heads * head_dim] -> [1, heads, s, head_dim]"""
    shape = g.constant([0, 0, heads, head_dim])
    return g.node("Transpose", g.node("Reshape", x, shape), perm=[0, 2, 1, 3])


def rotary_tables(g, head_dim):
    """Cosine and sine of the positions, [1, 1, s, head_dim]."""
    frequencies = 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    positions = g.node("Cast", g.node("Unsqueeze", "position_ids", g.constant([1, 3])), to=1)
    half = g.node("Mul", positions, g.constant(frequencies, np.float32))
    angles = g.node("Concat", half, half, axis=-1)
    return g.node("Cos", angles), g.node("Sin", angles)


def rotate(g, x, tables, head_dim):
    half, end = g.constant([head_dim // 2]), g.constant([2**62])
    first = g.node("Slice", x, g.constant([0]), half, g.constant([3]))
    second = g.node("Slice", x, half, end, g.constant([3]))
    turned = g.node("Concat", g.node("Neg", second), first, axis=-1)
    return g.node("Add", g.node("Mul", x, tables[0]), g.node("Mul", turned, tables[1]))


def mask(g):
    """0 where a key may be seen, a large negative number elsewhere: [1, 1, s, past + s]."""
    total = g.node("Gather", g.node("Shape", "attention_mask"), g.constant(1), axis=0)
    keys = g.node("Range", g.constant(0), total, g.constant(1))
    queries = g.node("Unsqueeze", "position_ids", g.constant([1, 3]))
    earlier = g.node("LessOrEqual", keys, queries)
    present = g.node("Cast", g.node("Unsqueeze", "attention_mask", g.constant([1, 2])), to=9)
    seen = g.node("And", earlier, present)
    return g.node("Where", seen, g.constant(0, np.float32), g.constant(-1e9, np.float32))


def repeat_heads(g, x, sizes):
    """[1, kv_heads, t, d] -> [1, heads, t, d]"""
    groups = sizes.heads // sizes.kv_heads
    length = g.node("Gather", g.node("Shape", x), g.constant([2]), axis=0)
    one, dim = g.constant([1]), g.constant([sizes.head_dim])
    own, repeats, heads = (g.constant([n]) for n in (sizes.kv_heads, groups, sizes.heads))
    wide = g.node("Concat", one, own, repeats, length, dim, axis=0)
    flat = g.node("Concat", one, heads, length, dim, axis=0)
    return g.node("Reshape", g.node("Expand", g.node("Unsqueeze", x, g.constant([2])), wide), flat)


def attention(g, x, layer, sizes, tables, masked):
    d, name = sizes.head_dim, f"layers.{layer}.self_attn"
    q = g.linear(x, f"{name}.q_proj", sizes.hidden, sizes.heads * d)
    k = g.linear(x, f"{name}.k_proj", sizes.hidden, sizes.kv_heads * d)
    v = g.linear(x, f"{name}.v_proj", sizes.hidden, sizes.kv_heads * d)
    q = rotate(g, split_heads(g, q, sizes.heads, d), tables, d)
    k = rotate(g, split_heads(g, k, sizes.kv_heads, d), tables, d)
    v = split_heads(g, v, sizes.kv_heads, d)
    keys = g.node("Concat", f"past_key_values.{layer}.key", k, axis=2, output=f"present.{layer}.key")
    values = g.node(
        "Concat", f"past_key_values.{layer}.value", v, axis=2, output=f"present.{layer}.value"
    )
    transposed = g.node("Transpose", repeat_heads(g, keys, sizes), perm=[0, 1, 3, 2])
    scores = g.scalar("Div", g.node("MatMul", q, transposed), d**0.5)
    weights = g.node("Softmax", g.node("Add", scores, masked), axis=-1)
    mixed = g.node("MatMul", weights, repeat_heads(g, values, sizes))
    merged = g.node("Transpose", mixed, perm=[0, 2, 1, 3])
    flat = g.node("Reshape", merged, g.constant([0, 0, sizes.heads * d]))
    return g.linear(flat, f"{name}.o_proj", sizes.heads * d, sizes.hidden)


def feed_forward(g, x, layer, sizes):
    name = f"layers.{layer}.mlp"
    gate = g.linear(x, f"{name}.gate_proj", sizes.hidden, sizes.intermediate)
    up = g.linear(x, f"{name}.up_proj", sizes.hidden, sizes.intermediate)
    activated = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), up)
    return g.linear(activated, f"{name}.down_proj", sizes.intermediate, sizes.hidden)


def network(g, sizes):
    table = g.weight("embed_tokens", sizes.vocabulary, sizes.hidden, scale=1.0)
    x = g.node("Gather", table, "input_ids", axis=0)
    tables, masked = rotary_tables(g, sizes.head_dim), mask(g)
    for layer in range(sizes.layers):
        normal = rms_norm(g, x, f"layers.{layer}.input_layernorm", sizes.hidden)
        x = g.node("Add", x, attention(g, normal, layer, sizes, tables, masked))
        normal = rms_norm(g, x, f"layers.{layer}.post_attention_layernorm", sizes.hidden)
        x = g.node("Add", x, feed_forward(g, normal, layer, sizes))
    x = rms_norm(g, x, "norm", sizes.hidden)
    g.node("MatMul", x, g.weight("lm_head", sizes.hidden, sizes.vocabulary), output="logits")


def past_names(sizes=Sizes()):
    return [f"past_key_values.{n}.{kind}" for n in range(sizes.layers) for kind in ("key", "value")]


def write(path, sizes=Sizes()):
    g = GraphWriter()
    network(g, sizes)
    value = helper.make_tensor_value_info
    cache = [1, sizes.kv_heads, "past", sizes.head_dim]
    grown = [1, sizes.kv_heads, "total", sizes.head_dim]
    inputs = [
        value("input_ids", TensorProto.INT64, [1, "s"]),
        value("attention_mask", TensorProto.INT64, [1, "total"]),
        value("position_ids", TensorProto.INT64, [1, "s"]),
        *(value(name, TensorProto.FLOAT, cache) for name in past_names(sizes)),
    ]
    outputs = [
        value("logits", TensorProto.FLOAT, [1, "s", sizes.vocabulary]),
        *(
            value(name.replace("past_key_values", "present"), TensorProto.FLOAT, grown)
            for name in past_names(sizes)
        ),
    ]
    graph = helper.make_graph(g.nodes, "decode", inputs, outputs, g.initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, producer_name="onrush bench"
    )
    checker.check_model(model, full_check=True)
    save(model, path)


def first_feeds(past=16, sizes=Sizes()):
    """One new token after `past` others."""
    random = np.random.default_rng(3)
    shape = (1, sizes.kv_heads, past, sizes.head_dim)
    feeds = {name: random.standard_normal(shape, dtype=np.float32) for name in past_names(sizes)}
    feeds["input_ids"] = np.array([[17]], np.int64)
    feeds["attention_mask"] = np.ones((1, past + 1), np.int64)
    feeds["position_ids"] = np.array([[past]], np.int64)
    return feeds
