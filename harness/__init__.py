"""The NoHype testbed's harness: deploys guests on hosts, runs workloads, counts VM exits, compares stacks."""

__version__ = "0.1.0"
