"""All is in pyproject.toml, but for the two things that it cannot say: the cffi module and its stable ABI."""

from setuptools import setup

setup(
    cffi_modules=["src/ktask/_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
