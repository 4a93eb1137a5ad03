"""Offers the tiny language model to every test of this folder."""

from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]
