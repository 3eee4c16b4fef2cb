"""Export of trained models: freeze, quantize, convert, verify and bundle."""
