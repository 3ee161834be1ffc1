"""What a run says of itself: the comparison with a random choice, the words and the page."""
