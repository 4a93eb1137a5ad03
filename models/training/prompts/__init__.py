"""Versions of language models out of what they read of labelled questions: calibrators, references, loss rank."""
