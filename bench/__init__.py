"""Side-by-side benchmarks: Hozi and its peers on the same machine, with the same files, in the same minutes.

Run by `make bench`; `docs/develop/benchmarks.md` says what each row means.
"""
