"""OpenAI's routes of text generation, with what this service adds: how sure the model was of its answers."""
