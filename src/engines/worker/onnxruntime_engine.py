"""ONNX Runtime: its defaults; io binding; CUDA graphs; and all that makes it faster."""
import sys

import numpy as np
import onnxruntime

if "onrush" in sys.modules:
    raise ImportError("the module 'onnxruntime' of this environment is Onrush under that name")

# TensorProto.DataType of element types that numpy lacks.
ONNX_TYPES = {"bfloat16": 16}


class Engine:
    def __init__(self, variants):
        self.variants = variants

    def version(self):
        return onnxruntime.__version__

    def load(self, request, feeds):
        self.device, self.feeds = request["device"], feeds
        self.on_gpu = self.device.startswith("cuda")
        self.ordinal = int(self.device.partition(":")[2] or 0)
        self.resident = request["placement"] == "device"
        if "graph" in self.variants and not self.on_gpu:
            raise RuntimeError("CUDA graphs need a GPU")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        if "tuned" in self.variants and not self.on_gpu:
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = onnxruntime.InferenceSession(
            request["model"], options, providers=[self.provider(request["precision"])]
        )
        if self.on_gpu and self.session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError(
                "its CUDA provider did not load, most likely for want of CUDA's or cuDNN's "
                "libraries: making a session in Python prints which"
            )
        self.bound = self.resident or bool(self.variants)
        # Outputs have sizes that only a run tells; a graph cannot be recorded before.
        if self.bound:
            self.bind(self.output_shapes(request))

    def provider(self, precision):
        if not self.on_gpu:
            return "CPUExecutionProvider"
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RuntimeError("this onnxruntime is without CUDA: install onnxruntime-gpu")
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        options = {"device_id": self.ordinal, "use_tf32": 0 if precision == "fp32" else 1}
        if self.variants & {"graph", "tuned"}:
            options["enable_cuda_graph"] = 1
        if "tuned" in self.variants:
            options["cudnn_conv_algo_search"] = "EXHAUSTIVE"
            options["cudnn_conv_use_max_workspace"] = 1
            options["prefer_nhwc"] = 1
            options["fuse_conv_bias"] = 1
        return ("CUDAExecutionProvider", options)

    def output_shapes(self, request):
        session = onnxruntime.InferenceSession(
            request["model"], providers=["CPUExecutionProvider"]
        )
        return [(array.dtype, array.shape) for array in session.run(None, self.feeds)]

    def ort_value(self, array, where):
        if array.dtype.name in ONNX_TYPES:
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
                array.view(np.uint16), ONNX_TYPES[array.dtype.name]
            )
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, where, self.ordinal)

    def bind(self, outputs):
        """Inputs and outputs in one place: recorded graphs need them on the GPU."""
        in_graph = self.on_gpu and self.variants & {"graph", "tuned"}
        where = "cuda" if self.on_gpu and (self.resident or in_graph) else "cpu"
        self.binding = self.session.io_binding()
        self.inputs = {name: self.ort_value(a, where) for name, a in self.feeds.items()}
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.outputs = [
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, where, self.ordinal)
            for dtype, shape in outputs
        ]
        for info, value in zip(self.session.get_outputs(), self.outputs):
            self.binding.bind_ortvalue_output(info.name, value)
        self.copies = where == "cuda" and not self.resident

    def run(self):
        if not self.bound:
            return self.session.run(None, self.feeds)
        if self.copies:
            for name, value in self.inputs.items():
                value.update_inplace(self.feeds[name])
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()
        return [value.numpy() for value in self.outputs] if self.copies else self.outputs

    def to_numpy(self, outputs):
        return [a if isinstance(a, np.ndarray) else a.numpy() for a in outputs]

    def output_names(self):
        return [info.name for info in self.session.get_outputs()]
