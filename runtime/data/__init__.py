"""Samples as people have them: one interface, and a declaration for each format of file.

A format says how a file of it is told (`Format`), and reads it: as arrays of timesteps, or as
recordings, lists of events that `binning` makes timesteps of.
"""
