"""Measurements that back every figure the project states: each script prints its table and compares it with its limits."""
