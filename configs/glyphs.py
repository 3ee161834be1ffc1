r"""Glyphs: A-Z, a-z and 0-9 in every font on the machine, 28x28, after the manner of notMNIST.

A seeded fifth of the font families is the test set, so a family is never in both. Fonts that lack a letter, draw small
letters as capitals or look like another are left out (`skipped.csv` says why). The images depend on the fonts that are
installed: with Debian 12's packages below, 662 faces of 127 families, 32,612 images
and 8,432 for the test (112 MB installed). Debian 13 lacks fonts-arapey and fonts-oxygen.

  apt-get install --no-install-recommends \
    fonts-3270 fonts-adf-accanthis fonts-adf-baskervald fonts-adf-berenis fonts-adf-gillius fonts-adf-ikarius \
    fonts-adf-irianis fonts-adf-libris fonts-adf-mekanus fonts-adf-oldania fonts-adf-romande fonts-adf-switzera \
    fonts-adf-tribun fonts-adf-universalis fonts-adf-verana fonts-agave fonts-allerta fonts-anonymous-pro \
    fonts-apropal fonts-arapey fonts-averia-gwf fonts-averia-sans-gwf fonts-averia-serif-gwf fonts-b612 \
    fonts-bajaderka fonts-beteckna fonts-blankenburg fonts-breip fonts-cabin fonts-cabinsketch fonts-cantarell \
    fonts-century-catalogue fonts-cherrybomb fonts-clear-sans fonts-comfortaa fonts-comic-neue fonts-courier-prime \
    fonts-crosextra-caladea fonts-crosextra-carlito fonts-dancingscript fonts-dejavu fonts-dkg-handwriting \
    fonts-dosis fonts-dustin fonts-ebgaramond fonts-ecolier-court fonts-engadget fonts-essays1743 fonts-eurofurence \
    fonts-fantasma fonts-fanwood fonts-femkeklaver fonts-ferrite-core fonts-firacode fonts-freefont-ttf \
    fonts-gamaliel fonts-georgewilliams fonts-gfs-artemisia fonts-gfs-didot fonts-gfs-neohellenic \
    fonts-gnutypewriter fonts-go fonts-gotico-antiqua fonts-goudybookletter fonts-hack fonts-havana fonts-hermit \
    fonts-humor-sans fonts-inconsolata fonts-isabella fonts-jetbrains-mono fonts-joscelyn fonts-junction fonts-jura \
    fonts-karla fonts-kaushanscript fonts-klaudia-berenika fonts-kristi fonts-lato fonts-league-spartan \
    fonts-leckerli-one fonts-liberation fonts-lindenhill fonts-linuxlibertine fonts-lobster fonts-lobstertwo \
    fonts-manrope fonts-monofur fonts-monoid fonts-mononoki fonts-national-park fonts-ocr-a fonts-ocr-b \
    fonts-okolaks fonts-oldstandard fonts-open-sans fonts-opendin fonts-opendyslexic fonts-osifont fonts-oxygen \
    fonts-play fonts-prociono fonts-quattrocento fonts-quicksand fonts-radisnoir fonts-roadgeek fonts-roboto-slab \
    fonts-roboto-unhinted fonts-routed-gothic fonts-rufscript fonts-sil-gentium fonts-sjfonts fonts-sora \
    fonts-staypuft fonts-summersby fonts-tiresias fonts-tlwg-kinnari-ttf fonts-tlwg-norasi-ttf fonts-tlwg-purisa-ttf \
    fonts-tlwg-typewriter-ttf fonts-tlwg-umpush-ttf fonts-triod-postnaja fonts-tuffy fonts-vollkorn \
    fonts-yanone-kaffeesatz
  elfs-jax --config=glyphs   # or --config.data.path=FOLDER of .ttf and .otf files
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'glyphs'
  config.cluster.num_classes = 62
  config.select.budget = '10%'
  config.cluster.batch = 1024
  config.proxy.flip = False  # b and d
  config.evaluate.flip = False
  config.evaluate.steps = 1000
  config.evaluate.seeds = 3
  return config
