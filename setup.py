"""All is in pyproject.toml, but for what it cannot say: cffi modules, the stable ABI, and an sdist of the same bits."""

import gzip
import os
import sysconfig
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """With SOURCE_DATE_EPOCH set, the archive depends on the files' names, contents and executable bits only."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        """Makes base_name.tar.gz of the files under base_dir."""
        time = os.environ.get("SOURCE_DATE_EPOCH")
        if time is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)

        def plain(member):
            member.mtime = int(time)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        name = f"{base_name}.tar.gz"
        with (
            open(name, "wb") as file,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=int(time)) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for path in sorted(Path(base_dir).rglob("*")):
                tar.add(path, recursive=False, filter=plain)
        return name


if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # cffi would declare that the module does without the GIL, which nobody has tried.
    raise SystemExit("ktask has not been tried with free-threaded CPython: install it for a build with the GIL")

setup(
    cffi_modules=["src/ktask/_build.py:ffibuilder", "src/ktask/_demo_build.py:ffibuilder"],
    cmdclass={"sdist": ReproducibleSdist},
    options={"bdist_wheel": {"py_limited_api": "cp310"}, "build_ext": {"force": True}},
)
