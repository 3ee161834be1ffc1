"""Vision encoders that never saw a label: images in, features out.

`self_supervised` trains a small one in place on the user's own images. Pretrained encoders are not here yet; `load`
will come to this file, one file per family beside it.
"""
