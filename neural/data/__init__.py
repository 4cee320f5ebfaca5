"""Data sets: images, text and vectors, read into memory, and what is done to them before training."""

from .augment import Augmentation, AugmentationDraws
from .catalogue import DATASETS, load_dataset, load_images
from .cifar import read_cifar10
from .dataset import IMAGES, TOKENS, VECTORS, Dataset
from .download import download_cifar10, download_tiny_imagenet, download_wikitext2
from .folders import read_image_folder, read_tiny_imagenet
from .images import digits, from_pixels
from .subset import stratified_subset
from .synthetic import gaussian_regression, markov_tokens, whitened_regression
from .text import read_wikitext2
from .text_file import TEXT_SUFFIXES, read_text

__all__ = [
    "DATASETS",
    "IMAGES",
    "TEXT_SUFFIXES",
    "TOKENS",
    "VECTORS",
    "Augmentation",
    "AugmentationDraws",
    "Dataset",
    "digits",
    "download_cifar10",
    "download_tiny_imagenet",
    "download_wikitext2",
    "from_pixels",
    "gaussian_regression",
    "load_dataset",
    "load_images",
    "markov_tokens",
    "read_cifar10",
    "read_image_folder",
    "read_text",
    "read_tiny_imagenet",
    "read_wikitext2",
    "stratified_subset",
    "whitened_regression",
]
