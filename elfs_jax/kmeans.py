"""How every k-means here is fitted. Runs where JAX is not installed."""
import warnings

from threadpoolctl import threadpool_limits


def fit(model, x_ND):
  """Fit a k-means of scikit-learn on one thread, as its labels otherwise depend on the thread count; returns it.

  Fewer distinct rows than clusters are no fault and bring no warning: some clusters stay empty.
  """
  from sklearn.exceptions import ConvergenceWarning
  with threadpool_limits(1), warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)
    return model.fit(x_ND)
