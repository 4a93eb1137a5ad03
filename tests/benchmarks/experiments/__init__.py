"""Experiments on training: `make experiment NAME=noise_warmup`. Read `experiment` first; `registry` lists them."""
