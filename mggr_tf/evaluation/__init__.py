"""Metrics, and the protocol that scores a run on subjects it never saw."""
