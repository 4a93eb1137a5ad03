"""Outputs of a frozen network for labelled images, or for augmented views of them, kept in memory-mapped files.

Read `cache.py` for what lies where, `fill.py` for how it comes there, `views.py` and `outputs.py` for what reads it.
"""
