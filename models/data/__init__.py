"""Labelled data: readers and deterministic splits."""
