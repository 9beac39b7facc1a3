"""What a graph's values can become: intervals, impulse responses, bounds on the machine's integers.

`bounds` proves, for an integer graph, which values can leave their width; `extremes` looks at what
samples make of them; `witness` builds inputs that come near the bounds.
"""
