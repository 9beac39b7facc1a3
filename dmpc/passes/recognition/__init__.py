"""How `recognise` reads a network: affine forms, then memories and neurons in them."""
