"""How far a model file is from its Keras model."""
