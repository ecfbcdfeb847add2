"""The embedded default: handwritten digits, a narrow Xception that reads them, and the code that made both."""
