"""An independent model of what undoing means, random histories, and the comparison of the product with the model."""
