"""What every other part of the model side rests on: outputs, methods, input spec, checkpoint format, store, device."""
