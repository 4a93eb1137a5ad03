"""The stages of jobs on language models, on questions: `dispatch.py` tells them from those on images."""
