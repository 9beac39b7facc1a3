"""What quantization costs, by layer, tensor and bit; and the cheapest widths that cost little."""
