"""Collectives as patterns of who sends how much to whom: one algorithm a file, plain functions; ``choice`` picks one."""
