"""Example 2: the same with intra_op_num_threads=16 and ORT_ENABLE_ALL.

The options of the question. One says how many threads of the CPU share an operator; the other is
the default.
"""

import os

import engines


def question_options(ort):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 16
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return options


def set_threads(found, count):
    """PyTorch's twin of intra_op_num_threads."""
    for engine in found:
        if engine.name == "PyTorch":
            engine.torch.set_num_threads(count)


def main():
    options = engines.arguments("Session options: which of them do something on a GPU.")
    plain = engines.all_engines(options.network, options.gpu)
    # As in the question: first one session, then the other, each from its first call on.
    naive = {e.name: [engines.naive_ms(e.from_host, options.calls)] for e in plain}
    threads = plain[0].torch.get_num_threads() if plain[0].name == "PyTorch" else 0
    tuned = engines.all_engines(options.network, options.gpu, question_options)
    set_threads(tuned, 16)
    for engine in tuned:
        naive[engine.name].append(engines.naive_ms(engine.from_host, options.calls))
    engines.check_same(plain + tuned)

    def timed(found, count):
        set_threads(found, count)
        return engines.true_ms({e.name: (e.on_gpu, e.wait) for e in found}, 1, options.calls)

    rounds = [(timed(plain, threads), timed(tuned, 16)) for _ in range(options.rounds)]
    rows = []
    for engine in plain:
        before, after = (
            sorted(pair[i][engine.name] for pair in rounds)[len(rounds) // 2] for i in (0, 1)
        )
        rows.append([engine.name, *naive[engine.name], before, after, before / after])
    print()
    engines.print_table(
        ["ms a call", "naive before", "naive after", "true before", "true after", "gain"], rows
    )
    default = next(e.session for e in plain if e.name == "Onrush").get_session_options()
    print(f"\nThe default level is {default.graph_optimization_level.name} already.")
    if options.gpu:
        print(
            "Threads of the CPU do not compute on the GPU, so 16 of them change nothing. What\n"
            "the naive timing shows is the order: the first session also pays for the process\n"
            "to start using the GPU."
        )
    else:
        print(
            f"On the CPU threads do matter: this machine offers {len(os.sched_getaffinity(0))} "
            "processors, and more threads\nthan that wait for each other. On a GPU the option does "
            "nothing."
        )


if __name__ == "__main__":
    main()
