"""The engines side by side, each behind the same three calls. Only worker.py makes them."""


class OnnxRuntime:
    """onnxruntime with its default settings, on the CPU."""

    module_name = "onnxruntime"

    def __init__(self, threads):
        self.module = __import__(self.module_name)
        self.threads = threads

    def version(self):
        return self.module.__version__

    def session_options(self):
        options = self.module.SessionOptions()
        options.intra_op_num_threads = self.threads
        return options

    def load(self, path, shapes):
        """`shapes`, of the inputs, if they never change; else None."""
        self.session = self.module.InferenceSession(
            path, self.session_options(), providers=["CPUExecutionProvider"]
        )

    def run(self, feeds):
        """The outputs in the order of the model, as arrays of their own."""
        return self.session.run(None, feeds)


class Onrush(OnnxRuntime):
    """Onrush through the same Python interface."""

    module_name = "onrush"
    precision = "fp32"

    def session_options(self):
        options = super().session_options()
        options.add_session_config_entry("onrush.precision", self.precision)
        return options


class OnrushBf16(Onrush):
    precision = "bf16"


class OpenVino:
    """OpenVINO for least latency; where the shapes never change, it is told so beforehand."""

    precision = "f32"

    def __init__(self, threads):
        import openvino

        self.module = openvino
        self.core = openvino.Core()
        self.core.set_property(
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": self.precision,
            },
        )

    def version(self):
        return self.module.__version__.split("-")[0]

    def load(self, path, shapes):
        model = self.core.read_model(path)
        if shapes:
            model.reshape(shapes)
        self.request = self.core.compile_model(model, "CPU").create_infer_request()

    def run(self, feeds):
        results = self.request.infer(feeds, share_inputs=True)
        return [results[i] for i in range(len(results))]


class OpenVinoBf16(OpenVino):
    precision = "bf16"


ENGINES = {
    "onrush": Onrush,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "onrush-bf16": OnrushBf16,
    "openvino-bf16": OpenVinoBf16,
}
