"""Several profiled runs as one: means over the middle half of them by duration."""


class ProfiledRuns:
    def __init__(self, durations):
        """durations: of each run, in microseconds."""
        order = sorted(range(len(durations)), key=lambda run: durations[run])
        cut = len(order) // 4
        self.middle = set(order[cut : len(order) - cut])
        self.run_us = sum(durations[run] for run in self.middle) / len(self.middle)
        self.sums = {}  # by event: time and number

    def add(self, key, run, us):
        """key: name, operator, provider, and what else tells events of a run apart."""
        if run in self.middle:
            time, number = self.sums.get(key, (0, 0))
            self.sums[key] = (time + us, number + 1)

    def events(self):
        """In the order in which they came first."""
        runs = len(self.middle)
        return [
            {"name": key[0], "op": key[1], "provider": key[2], "us": us / runs, "calls": n / runs}
            for key, (us, n) in self.sums.items()
        ]
