"""Packaging: metadata, ranges for users. What `make` installs is pinned in requirements.lock."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "hear_msss/version.py").read_text()).group(1)

PRETRAIN = ["PyYAML>=6", "joblib>=1.4", "matplotlib>=3.7", "tensorboard>=2.14", "webdataset>=0.2.86"]
EVAL = [
    "PyYAML>=6",
    "joblib>=1.4",
    "matplotlib>=3.7",
    "pandas>=2",
    "pooch>=1.8",
    "rich>=13",
    "requests>=2.31",
    "scikit-learn>=1.3",
    "sed_eval>=0.2.1",
    "urllib3>=2.1",
]
ONNX = ["onnx>=1.15", "onnxruntime>=1.17"]
FORMATS = ["h5py>=3.9", "pyarrow>=14"]
DEV = [
    "hypothesis>=6",
    "librosa>=0.10",
    "mypy>=1.8",
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.4",
    "torchaudio>=2.4",
    "types-PyYAML",
]

setup(
    name="hear_msss",
    version=VERSION,
    description="One frozen audio encoder for the HEAR benchmark: MSSS, its pretraining and its evaluation",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.15",
    packages=find_packages(include=["hear_msss*", "pretrain*", "eval_tasks*"]),
    include_package_data=False,
    package_data={
        "hear_msss": ["bundled/*.safetensors"],
        "pretrain": ["configs/*/*.yaml"],
        "eval_tasks": [
            "*.yaml",
            "*.csv",
            "**/*.yaml",
            "**/*.csv",
            "**/*.json",
            "**/*.ogg",
            "**/LICENSE*",
            "**/*.md",
        ],
    },
    install_requires=[
        "torch>=2.4",
        "efficientnet_pytorch>=0.7.1,<0.8",
        "numpy>=1.26",
        "joblib>=1.4",
        "platformdirs>=3",
        "safetensors>=0.4.3",
        "av>=18",
        "soundfile>=0.13",
        "soxr>=0.3.7",
        "tqdm>=4.66",
    ],
    entry_points={"console_scripts": ["hear-msss=hear_msss.__main__:main"]},
    extras_require={
        "pretrain": PRETRAIN,
        "eval": EVAL,
        "onnx": ONNX,
        "formats": FORMATS,
        "dev": [*DEV, *PRETRAIN, *EVAL, *ONNX, *FORMATS],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
