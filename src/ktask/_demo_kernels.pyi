from typing import Any

from ktask._core import _FFI

ffi: _FFI

class _Lib:
    STEPS_PER_SUM: int
    def mandelbrot(self, start: Any, end: Any, picture: Any, /) -> int: ...
    def list_new(self, size: int, /) -> Any: ...
    def memcmp(self, a: Any, b: Any, size: int, /) -> int: ...

lib: _Lib
