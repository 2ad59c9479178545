"""BibTeX of Semantic Human Matting and of the data sets that people composite from."""

SHM = """\
@inproceedings{chen2018semantic,
  title = {Semantic Human Matting},
  author = {Chen, Quan and Ge, Tiezheng and Xu, Yanyu and Zhang, Zhiqiang and Yang, Xinxin and Gai, Kun},
  booktitle = {Proceedings of the 26th ACM International Conference on Multimedia},
  year = {2018}
}"""

# By the label of a source, or the name of a published set.
OF_SOURCES = {
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
    "composition1k": """\
@inproceedings{xu2017deep,
  title = {Deep Image Matting},
  author = {Xu, Ning and Price, Brian and Cohen, Scott and Huang, Thomas},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017}
}""",
    "distinctions646": """\
@inproceedings{qiao2020attention,
  title = {Attention-Guided Hierarchical Structure Aggregation for Image Matting},
  author = {Qiao, Yu and Liu, Yuhao and Yang, Xin and Zhou, Dongsheng and Xu, Mingliang and Zhang, Qiang
            and Wei, Xiaopeng},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}""",
    "aim500": """\
@inproceedings{li2021deep,
  title = {Deep Automatic Natural Image Matting},
  author = {Li, Jizhizi and Zhang, Jing and Tao, Dacheng},
  booktitle = {Proceedings of the Thirtieth International Joint Conference on Artificial Intelligence},
  pages = {800--806},
  year = {2021},
  doi = {10.24963/ijcai.2021/111}
}""",
    "p3m": """\
@inproceedings{li2021privacy,
  title = {Privacy-Preserving Portrait Matting},
  author = {Li, Jizhizi and Ma, Sihan and Zhang, Jing and Tao, Dacheng},
  booktitle = {Proceedings of the 29th ACM International Conference on Multimedia},
  year = {2021},
  doi = {10.1145/3474085.3475512}
}""",
    "ppm100": """\
@inproceedings{ke2022modnet,
  title = {{MODNet}: Real-Time Trimap-Free Portrait Matting via Objective Decomposition},
  author = {Ke, Zhanghan and Sun, Jiayu and Li, Kaican and Yan, Qiong and Lau, Rynson W. H.},
  booktitle = {AAAI},
  year = {2022}
}""",
    "aisegment": """\
@misc{aisegment2019matting,
  title = {Matting Human Datasets},
  author = {{AISegment}},
  year = {2019},
  howpublished = {\\url{https://github.com/aisegmentcn/matting_human_datasets}}
}""",
    "alphamatting": """\
@inproceedings{rhemann2009perceptually,
  title = {A Perceptually Motivated Online Benchmark for Image Matting},
  author = {Rhemann, Christoph and Rother, Carsten and Wang, Jue and Gelautz, Margrit and Kohli, Pushmeet
            and Rott, Pamela},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2009}
}""",
}
