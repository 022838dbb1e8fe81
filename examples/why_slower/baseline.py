"""Example 1: a model with default options, timed in a loop.

The loop of the question calls each engine many times and divides. It says that PyTorch is faster;
part of that is the timing.
"""

import engines


def main():
    options = engines.arguments("Default options: naive timing and true timing side by side.")
    found = engines.all_engines(options.network, options.gpu)
    engines.check_same(found)  # and what the first calls prepare is done
    # As in the question: PyTorch's input is on the GPU already, the sessions' is a numpy array.
    naive = {
        engine.name: engines.naive_ms(
            engine.on_gpu if engine.name == "PyTorch" else engine.from_host, options.calls
        )
        for engine in found
    }
    for engine in found:
        engine.wait()
    host = engines.true_ms(
        {e.name: (e.from_host, e.wait) for e in found}, options.rounds, options.calls
    )
    resident = engines.true_ms(
        {e.name: (e.on_gpu, e.wait) for e in found}, options.rounds, options.calls
    )
    print()
    engines.print_table(
        ["ms a call", "naive", "true: numpy in and out", "true: all on the device"],
        [[e.name, naive[e.name], host[e.name], resident[e.name]] for e in found],
    )
    print("\nWhat the naive loop gets wrong:")
    if options.gpu:
        print(
            "- it does not synchronise: PyTorch's calls return when the work is queued, not done;\n"
            "- it copies on one side only: the sessions take a numpy array and give one back in\n"
            "  every call, PyTorch's tensors never leave the GPU."
        )
    else:
        print(
            "- on the CPU nothing is asynchronous and nothing is copied, so here its mistakes\n"
            "  cost nothing: run it where there is a GPU to see them."
        )


if __name__ == "__main__":
    main()
