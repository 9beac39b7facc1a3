"""NIR files (Pedersen et al., 2024): the exchange format of spiking network libraries."""
