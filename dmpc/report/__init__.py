"""Pictures of what `runtime` computes: files that other programs, or people, look at."""
