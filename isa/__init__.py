"""The hardware: instructions, encoding, assembler, target, image and simulator.

Nothing here knows the compiler or the runtime.
"""
