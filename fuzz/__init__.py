"""Fuzzing: whatever a file holds, edgex reads it or raises an EdgexError. ``python -m fuzz``.

Coverage-guided, by mutation: an input is made of one that came before, by a change that knows the format, and if it
reaches a line of edgex that none had reached it is kept, to be changed in its turn. The first inputs are in ``corpus``.
"""
