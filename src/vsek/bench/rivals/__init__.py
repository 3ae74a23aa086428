"""Other clients of ARI, and ours, in a race; see :mod:`vsek.bench.workloads.client`."""
