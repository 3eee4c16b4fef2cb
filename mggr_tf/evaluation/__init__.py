"""Metrics, and the protocol that scores a run on subjects that it was not trained on."""
