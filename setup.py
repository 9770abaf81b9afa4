"""All is in pyproject.toml, but for the two things that it cannot say: the cffi modules and their stable ABI."""

from setuptools import setup

setup(
    cffi_modules=["src/ktask/_build.py:ffibuilder", "src/ktask/_demo_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}, "build_ext": {"force": True}},
)
