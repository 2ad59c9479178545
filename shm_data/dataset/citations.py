"""BibTeX of Semantic Human Matting and of the data sets that people composite from."""

from collections.abc import Container

from shm_data.options.published_sets import PUBLISHED_SETS

_SHM = """\
@inproceedings{chen2018semantic,
  title = {Semantic Human Matting},
  author = {Chen, Quan and Ge, Tiezheng and Xu, Yanyu and Zhang, Zhiqiang and Yang, Xinxin and Gai, Kun},
  booktitle = {Proceedings of the 26th ACM International Conference on Multimedia},
  year = {2018}
}"""

# By the kind of a background source.
_OF_BACKGROUNDS = {
    "voc": """\
@article{everingham2010pascal,
  title = {The Pascal Visual Object Classes ({VOC}) Challenge},
  author = {Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and Zisserman, Andrew},
  journal = {International Journal of Computer Vision},
  volume = {88},
  number = {2},
  pages = {303--338},
  year = {2010}
}""",
    "coco": """\
@inproceedings{lin2014microsoft,
  title = {Microsoft {COCO}: Common Objects in Context},
  author = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and Ramanan, Deva
            and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle = {European Conference on Computer Vision},
  year = {2014}
}""",
}


def citations_of(sources: Container[str]) -> list[str]:
    """Return the BibTeX of the method, and of these published sets and kinds of background sources, in one order."""
    known = _OF_BACKGROUNDS | {name: published.citation for name, published in PUBLISHED_SETS.items()}
    return [_SHM, *(text for name, text in known.items() if name in sources)]
