"""How fast the course's Transformer is, beside what learners would use instead."""
