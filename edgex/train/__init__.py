"""Training, the only room where TensorFlow lives: a graph goes to ``tf_keras``, is trained, and comes back a graph."""
