"""Checkpoints that ship with howsure, as small files, and the programs that build them."""
