"""Sharded training of classifiers: what the proxy and the evaluation share."""
