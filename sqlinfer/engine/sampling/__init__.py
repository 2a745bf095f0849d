"""From logits to tokens, beams and scored choices."""
