"""Labelled data from files of strangers, and deterministic splits."""
