"""Handwritten digits, which come with scikit-learn."""
import numpy as np


def read() -> dict:
  """1,797 grey images of 8x8 with their labels."""
  from sklearn.datasets import load_digits
  digits = load_digits()
  return {'images': np.round(digits.images * (255 / 16)).astype(np.uint8), 'labels': digits.target,
          'class_names': [str(c) for c in digits.target_names]}
