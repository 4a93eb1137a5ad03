"""Text generation: many sequences step together through a causal language model, a token a step."""
