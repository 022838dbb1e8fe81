"""OpenVINO for least latency, in fp32 or bf16. The shapes are told beforehand."""
import openvino


class Engine:
    def __init__(self, variants):
        self.precision = "bf16" if "bf16" in variants else "f32"

    def version(self):
        return openvino.__version__.split("-")[0]

    def load(self, request, feeds):
        if request["device"] != "cpu":
            raise RuntimeError("runs on CPUs and Intel's GPUs only")
        self.feeds = feeds
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if request["threads"]:
            settings["INFERENCE_NUM_THREADS"] = request["threads"]
        core.set_property("CPU", settings)
        model = core.read_model(request["model"])
        model.reshape({name: array.shape for name, array in feeds.items()})
        self.names = [next(iter(output.get_names()), "") for output in model.outputs]
        self.request = core.compile_model(model, "CPU").create_infer_request()

    def run(self):
        results = self.request.infer(self.feeds, share_inputs=True)
        return [results[i] for i in range(len(results))]

    def to_numpy(self, outputs):
        return outputs

    def output_names(self):
        return self.names
