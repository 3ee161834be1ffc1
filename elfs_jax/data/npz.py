"""NumPy's files (.npy, .npz) of plain numbers and strings, read with errors that say what to do."""
import pathlib
import zipfile
import zlib

import numpy as np

from elfs_jax.data import decode

# How what other libraries write becomes an .npy, by the endings of its files.
MENDS = {
    ('.pt', '.pth', '.ckpt', '.safetensors'): 'tensor{float}.cpu().numpy()',
    ('.pkl', '.pickle', '.joblib'): 'np.asarray(loaded)',
    ('.parquet', '.feather', '.arrow', '.csv'): "np.stack(table['COLUMN'])",
    ('.h5', '.hdf5'): "file['NAME'][:]",
    ('.mat',): "scipy.io.loadmat(file)['NAME']",
}
# What reading a damaged .npz may raise; of changed bytes also an unknown compression, or one that seems encrypted.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read(path, needed: str, optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
  """{name: array} of `needed` and what there is of `optional` from an .npz, or {needed: array} from an .npy.

  Raises: FileNotFoundError or ValueError, in one line that names the file and the mend.
  """
  file = pathlib.Path(path).expanduser()
  if not file.exists():
    raise FileNotFoundError(f'{path}: no such file; give an .npy or .npz file of {needed}')
  if file.is_dir():
    raise ValueError(f"{path}: a folder, not an .npy or .npz file of {needed}; data.name='folder' reads folders")
  mend = next((mend for endings, mend in MENDS.items() if file.suffix.lower() in endings), None)
  if mend:
    mend = mend.format(float='' if needed == 'images' else '.float()')  # NumPy has no bfloat16.
    raise ValueError(f"{path}: not an .npy or .npz file; in Python save it as one: np.save('{needed}.npy', {mend})")
  try:
    with open(file, 'rb') as opened:  # Given the path, NumPy leaves a damaged one open.
      content = np.load(opened, allow_pickle=False)
      if isinstance(content, np.ndarray):
        return {needed: content}
      with content:
        if needed in content.files:
          return {key: content[key] for key in (needed, *optional) if key in content.files}
        names = ', '.join(content.files) or 'nothing'
  except DAMAGED as error:
    # NumPy takes what it does not know for a pickle, and advises to load it all the same.
    unknown = isinstance(error, ValueError) and 'pickle' in str(error)
    reason = 'another format, or Python objects' if unknown else decode.one_line(error)
    raise ValueError(f'{path}: not a sound .npy or .npz file of plain numbers ({reason}); '
                     'save it again with np.save or np.savez') from None
  raise ValueError(f'{path}: holds {names} and no array named {needed!r}; save it with np.savez(file, {needed}=...)')
