"""Example 3: CUDA graph capture.

A CUDA graph is launched as a whole, which spares a model of many short kernels the time between
them. The question replays one with functions that onnxruntime does not have; there it is an option
of the provider, together with io binding. Onrush records graphs by itself.
"""

import engines

# What the question calls on a session.
IMAGINED = ["capture_graph", "begin_capture", "end_capture", "replay", "replay_graph"]


class PyTorchGraph(engines.PyTorch):
    """A graph reads and writes the memory with which it was captured."""

    name = "PyTorch, graph"

    def __init__(self, network):
        super().__init__(network, True)
        stream = self.torch.cuda.Stream()
        stream.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(stream):
            for _ in range(3):  # algorithms are chosen before the capture
                super().on_gpu()
        self.torch.cuda.current_stream().wait_stream(stream)
        self.graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(self.graph):
            super().on_gpu()

    def on_gpu(self):
        self.graph.replay()

    def from_host(self):
        self.x_there.copy_(self.torch.from_numpy(self.x))
        self.graph.replay()
        return self.y_there.cpu().numpy()


class OnnxRuntimeGraph(engines.OnnxRuntime):
    """onnxruntime's graphs need io binding with memory that stays."""

    name = "onnxruntime, graph"

    def __init__(self, network):
        super().__init__(network, True, cuda_options={"enable_cuda_graph": "1"})

    def from_host(self):
        self.x_there.update_inplace(self.x)
        self.on_gpu()
        return self.y_there.numpy()


def main():
    options = engines.arguments("CUDA graphs: what capture needs, and what replay costs.")
    found = engines.all_engines(options.network, options.gpu)
    for engine in found:
        if engine.name != "PyTorch":
            missing = [name for name in IMAGINED if not hasattr(engine.session, name)]
            print(f"{engine.name}'s InferenceSession has no {', '.join(missing)}")
    if not options.gpu:
        times = engines.true_ms(
            {e.name: (e.from_host, e.wait) for e in found}, options.rounds, options.calls
        )
        print()
        engines.print_table(["ms a call", "true"], [[e.name, times[e.name]] for e in found])
        print("\nThe CPU has no CUDA graphs: these are plain calls.")
        return
    found += engines.make_engines(
        {
            "PyTorch, graph": lambda: PyTorchGraph(options.network),
            "onnxruntime, graph": lambda: OnnxRuntimeGraph(options.network),
        }
    )
    engines.check_same(found)
    calls = {e.name: (e.on_gpu, e.wait) for e in found}
    engines.true_ms(calls, 1, 5)  # graphs are captured
    naive = {}
    for engine in found:
        naive[engine.name] = engines.naive_ms(engine.on_gpu, options.calls)
        engine.wait()
    true = engines.true_ms(calls, options.rounds, options.calls)
    print()
    engines.print_table(
        ["ms a call, all on the GPU", "naive", "true"],
        [[e.name, naive[e.name], true[e.name]] for e in found],
    )
    print(
        "\nThe naive timing of a replay is that of its launch: nobody waits for the graph. Onrush\n"
        "captures from the second run at a size on and follows new addresses, without an option."
    )


if __name__ == "__main__":
    main()
