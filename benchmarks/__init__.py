"""Benchmarks: they write JSON and a table, and judge nothing."""
