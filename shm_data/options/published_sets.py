"""The published matting sets that `--layout` knows. Adding one is one entry in PUBLISHED_SETS.

Standard library only: the choices of `--layout`, the citations and the table in docs/layouts.md follow from it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairFolders:
    """Folders of a published set, below its root: one of images, one of their alphas, perhaps one of trimaps.

    An alpha has the path of its image, except that the names of its subfolders may begin otherwise:
    `folder_prefixes` are the prefix below `images` and the one that replaces it below `alphas`. The name of a trimap
    is that of its image and `trimap_suffix`. `name_list` is a file with the names of the images to use, one a line;
    without it all are used. `split` is the split that the set gives these images, if any. Where they hold the
    foreground's `colours` alone, and are no photos, they give composites only.
    """

    images: str
    alphas: str
    trimaps: str = ""
    split: str | None = None
    folder_prefixes: tuple[str, str] = ("", "")
    trimap_suffix: str = ""
    name_list: str = ""
    colours: bool = False


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A published set and the folders that it may have.

    A tree is recognised as this set if one of its folders exists (all of them with `needs_all`) and the names of all
    images match the regular expression `name_pattern`. `licence` is what its publisher says, "" where nothing is
    known. `citation` is BibTeX.
    """

    title: str
    folders: tuple[PairFolders, ...]
    citation: str
    licence: str = ""
    needs_all: bool = False
    name_pattern: str = ""


_ADOBE_TEST = "Test_set/Adobe-licensed images"
_P3M = "validation/P3M-500"

PUBLISHED_SETS = {
    "composition1k": PublishedSet(
        "Composition-1k",
        (
            *(
                PairFolders(
                    f"{folder}/fg",
                    f"{folder}/alpha",
                    split="train",
                    name_list="Training_set/training_fg_names.txt",
                    colours=True,
                )
                for folder in ("Training_set/Adobe-licensed images", "Training_set/Other")
            ),
            PairFolders(
                f"{_ADOBE_TEST}/fg",
                f"{_ADOBE_TEST}/alpha",
                f"{_ADOBE_TEST}/trimaps",
                split="val",
                trimap_suffix="_0",  # each foreground has a trimap for each of its 20 composites, _0 to _19
                name_list="Test_set/test_fg_names.txt",
                colours=True,
            ),
        ),
        citation="""\
@inproceedings{xu2017deep,
  title = {Deep Image Matting},
  author = {Xu, Ning and Price, Brian and Cohen, Scott and Huang, Thomas},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017}
}""",
        licence="on request, for non-commercial use",
    ),
    "distinctions646": PublishedSet(
        "Distinctions-646",
        (
            PairFolders("Train/FG", "Train/GT", split="train", colours=True),
            PairFolders("Test/FG", "Test/GT", split="val", colours=True),
        ),
        citation="""\
@inproceedings{qiao2020attention,
  title = {Attention-Guided Hierarchical Structure Aggregation for Image Matting},
  author = {Qiao, Yu and Liu, Yuhao and Yang, Xin and Zhou, Dongsheng and Xu, Mingliang and Zhang, Qiang
            and Wei, Xiaopeng},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}""",
        licence="on request, for non-commercial use",
        needs_all=True,
    ),
    "videomatte240k": PublishedSet(
        "VideoMatte240K",
        (
            PairFolders("train/fgr", "train/pha", split="train", colours=True),
            PairFolders("test/fgr", "test/pha", split="val", colours=True),
        ),
        citation="""\
@inproceedings{lin2021real,
  title = {Real-Time High-Resolution Background Matting},
  author = {Lin, Shanchuan and Ryabtsev, Andrey and Sengupta, Soumyadip and Curless, Brian and Seitz, Steven M.
            and Kemelmacher-Shlizerman, Ira},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2021}
}""",
    ),
    "aim500": PublishedSet(
        "AIM-500",
        (PairFolders("original", "mask", "trimap"),),
        citation="""\
@inproceedings{li2021deep,
  title = {Deep Automatic Natural Image Matting},
  author = {Li, Jizhizi and Zhang, Jing and Tao, Dacheng},
  booktitle = {Proceedings of the Thirtieth International Joint Conference on Artificial Intelligence},
  pages = {800--806},
  year = {2021},
  doi = {10.24963/ijcai.2021/111}
}""",
        name_pattern="o_[0-9a-f]{8}",
    ),
    "p3m": PublishedSet(
        "P3M-10k",
        (
            PairFolders("train/blurred_image", "train/mask", split="train"),
            PairFolders(f"{_P3M}-P/blurred_image", f"{_P3M}-P/mask", f"{_P3M}-P/trimap", split="val"),
            PairFolders(f"{_P3M}-NP/original_image", f"{_P3M}-NP/mask", f"{_P3M}-NP/trimap", split="val"),
        ),
        citation="""\
@inproceedings{li2021privacy,
  title = {Privacy-Preserving Portrait Matting},
  author = {Li, Jizhizi and Ma, Sihan and Zhang, Jing and Tao, Dacheng},
  booktitle = {Proceedings of the 29th ACM International Conference on Multimedia},
  year = {2021},
  doi = {10.1145/3474085.3475512}
}""",
        licence="MIT, with a release agreement",
    ),
    "ppm100": PublishedSet(
        "PPM-100",
        (
            PairFolders("image", "matte"),
            PairFolders("train/fg", "train/alpha", split="train"),
            PairFolders("val/fg", "val/alpha", split="val"),
        ),
        citation="""\
@inproceedings{ke2022modnet,
  title = {{MODNet}: Real-Time Trimap-Free Portrait Matting via Objective Decomposition},
  author = {Ke, Zhanghan and Sun, Jiayu and Li, Kaican and Yan, Qiong and Lau, Rynson W. H.},
  booktitle = {AAAI},
  year = {2022}
}""",
        licence="mattes CC BY-NC-SA 4.0",
        name_pattern=r"\d+_[0-9a-f]{10}_\w{1,2}",  # as Flickr names its downloads
    ),
    "aisegment": PublishedSet(
        "AISegment",
        (PairFolders("clip_img", "matting", folder_prefixes=("clip_", "matting_")),),
        citation="""\
@misc{aisegment2019matting,
  title = {Matting Human Datasets},
  author = {{AISegment}},
  year = {2019},
  howpublished = {\\url{https://github.com/aisegmentcn/matting_human_datasets}}
}""",
    ),
    "alphamatting": PublishedSet(
        "alphamatting.com",
        (PairFolders("input_training_lowres", "gt_training_lowres", "trimap_training_lowres/Trimap1"),),
        citation="""\
@inproceedings{rhemann2009perceptually,
  title = {A Perceptually Motivated Online Benchmark for Image Matting},
  author = {Rhemann, Christoph and Rother, Carsten and Wang, Jue and Gelautz, Margrit and Kohli, Pushmeet
            and Rott, Pamela},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2009}
}""",
    ),
}
