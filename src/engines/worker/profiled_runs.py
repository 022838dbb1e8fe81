"""Several profiled runs as one."""


def middle_mean(values):
    """The mean of the middle half: free of what disturbed some, finer than whole microseconds."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


class ProfiledRuns:
    def __init__(self, durations):
        """durations: of each run, in microseconds."""
        self.runs = len(durations)
        self.run_us = middle_mean(durations)
        self.times, self.calls = {}, {}  # by event: in each run; in all

    def add(self, key, run, us):
        """key: name, operator, provider, and what else tells events of a run apart."""
        self.times.setdefault(key, [0] * self.runs)[run] += us
        self.calls[key] = self.calls.get(key, 0) + 1

    def events(self):
        """In the order in which they came first."""
        return [
            {
                "name": key[0],
                "op": key[1],
                "provider": key[2],
                "us": middle_mean(times),
                "calls": self.calls[key] / self.runs,
            }
            for key, times in self.times.items()
        ]
