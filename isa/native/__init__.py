"""The compiled part of the machine: its records, its C sources, and how they become a library."""
