"""The benchmarks themselves: each is run for a moment, and what judges by them is tried."""
