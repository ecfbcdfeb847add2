"""Models as data: one small immutable graph, its readers and its passes."""
