"""From a placed graph to an image: instructions, memory contents, and what describes them."""
