"""Training classifiers: from scratch or from given weights, after a warm-up on random noise where asked for."""
