r"""Icons of seven kinds (actions, apps, devices, documents, places ...) as three desktops draw them, 32x32, in colour.

2,020 pictures of 48x48 pixels from Debian 12's packages below, over white; the kinds are uneven, 97 to 808, and some
pictures are copies of others, in another kind as well. A fifth is set aside anew for each seed. No default was changed
by looking at this set.

  apt-get install --no-install-recommends oxygen-icon-theme gnome-icon-theme elementary-xfce-icon-theme
  for kind in actions apps categories devices mime places status; do
    mkdir -p icons/$kind
    find /usr/share/icons/oxygen /usr/share/icons/gnome /usr/share/icons/elementary-xfce \
      -type f -name '*.png' -path '*/48*/*' -path "*/$kind*/*" |
      while read file; do cp $file icons/$kind/$(echo $file | cut -d/ -f5)-${file##*/}; done
  done
  elfs-jax --config=icons   # or --config.data.path=FOLDER
"""
from elfs_jax import config as base


def get_config():
  config = base.pictures()
  config.data.name = 'folder'
  config.data.path = 'icons'
  config.data.labels = 'folders'
  config.data.size = 32
  config.cluster.num_classes = 7
  config.select.budget = '10%'
  return config
