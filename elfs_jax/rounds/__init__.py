"""Rounds: labels come back, the next images are chosen around them, and how many labels are enough."""
