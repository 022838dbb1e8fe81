"""ResNet-50 with random weights, written once: as an ONNX model and as a PyTorch function.

Batch normalisations are folded into the convolutions, as exporters do, so every engine is given the
same 53 convolutions.
"""

import functools

import numpy as np


def resnet(ops, x, width, blocks):
    """``ops`` is OnnxOps or TorchOps; gives 1000 scores."""
    x = ops.conv(x, 3, width, 7, stride=2, relu=True)
    x = ops.max_pool(x)
    channels = width
    for stage, count in enumerate(blocks):
        inner, outer = width << stage, width << stage + 2
        for block in range(count):
            stride = 2 if stage and block == 0 else 1
            y = ops.conv(x, channels, inner, 1, relu=True)
            y = ops.conv(y, inner, inner, 3, stride=stride, relu=True)
            y = ops.conv(y, inner, outer, 1)
            if block == 0:
                x = ops.conv(x, channels, outer, 1, stride=stride)
            x, channels = ops.add_relu(x, y), outer
    return ops.linear(ops.mean(x), channels, 1000)


class Weights:
    """The same ones in the same order for each engine."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def of(self, *shape):
        scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.01
        return (scale * self.random.standard_normal(shape)).astype(np.float32)


class OnnxOps:
    def __init__(self):
        self.weights, self.nodes, self.initializers = Weights(), [], []

    def add(self, kind, inputs, **attributes):
        from onnx import helper

        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def weight(self, *shape):
        from onnx import numpy_helper

        name = f"weight_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(self.weights.of(*shape), name))
        return name

    def conv(self, x, channels, outputs, kernel, stride=1, relu=False):
        weight = self.weight(outputs, channels, kernel, kernel)
        inputs = [x, weight, self.weight(outputs)]
        pads, strides = [kernel // 2] * 4, [stride] * 2
        y = self.add("Conv", inputs, kernel_shape=[kernel] * 2, pads=pads, strides=strides)
        return self.add("Relu", [y]) if relu else y

    def max_pool(self, x):
        return self.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def add_relu(self, x, y):
        return self.add("Relu", [self.add("Add", [x, y])])

    def mean(self, x):
        return self.add("Flatten", [self.add("GlobalAveragePool", [x])])

    def linear(self, x, channels, outputs):
        weight = self.weight(outputs, channels)
        return self.add("Gemm", [x, weight, self.weight(outputs)], transB=1)


class TorchOps:
    def __init__(self, device):
        import torch

        self.weights, self.device, self.torch = Weights(), device, torch
        self.f = torch.nn.functional
        self.made, self.next = [], 0

    def weight(self, *shape):
        """That of this call's place in the network; made in the first run."""
        if self.next == len(self.made):
            self.made.append(self.torch.from_numpy(self.weights.of(*shape)).to(self.device))
        self.next += 1
        return self.made[self.next - 1]

    def conv(self, x, channels, outputs, kernel, stride=1, relu=False):
        weight = self.weight(outputs, channels, kernel, kernel)
        y = self.f.conv2d(x, weight, self.weight(outputs), stride, kernel // 2)
        return self.f.relu(y) if relu else y

    def max_pool(self, x):
        return self.f.max_pool2d(x, 3, 2, 1)

    def add_relu(self, x, y):
        return self.f.relu(x + y)

    def mean(self, x):
        return x.mean((2, 3))

    def linear(self, x, channels, outputs):
        weight = self.weight(outputs, channels)
        return self.f.linear(x, weight, self.weight(outputs))


class Network:
    """``small`` has two blocks and a quarter of the channels: for a quick look."""

    def __init__(self, small=False):
        self.width, self.blocks = (16, (1, 1)) if small else (64, (3, 4, 6, 3))
        size = 64 if small else 224
        self.input = np.random.default_rng(1).standard_normal((1, 3, size, size), np.float32)

    def onnx(self):
        """The bytes of a model with the input x and the output y."""
        from onnx import TensorProto, helper

        ops = OnnxOps()
        resnet(ops, "x", self.width, self.blocks)
        ops.nodes[-1].output[0] = "y"
        float_value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
        inputs = [float_value("x", shape=list(self.input.shape))]
        outputs = [float_value("y", shape=[1, 1000])]
        graph = helper.make_graph(ops.nodes, "resnet", inputs, outputs, ops.initializers)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

    def torch(self, device):
        """A function from a tensor to a tensor."""
        ops = TorchOps(device)

        def forward(x):
            ops.next = 0
            with ops.torch.inference_mode():
                return resnet(ops, x, self.width, self.blocks)

        return forward
