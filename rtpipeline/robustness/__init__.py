"""How far features stay the same when image and structure are perturbed."""
