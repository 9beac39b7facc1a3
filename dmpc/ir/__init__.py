"""The graph IR: one graph type, its levels, its ops, its text form and its interpreter."""
