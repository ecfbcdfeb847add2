"""What a target compiles out of the artifacts: forms for runtimes on a CPU, and a script that builds engines."""

from edgex.compile.cpu import CompiledFile
from edgex.compile.directory import Compiled, compile_directory

__all__ = ["Compiled", "CompiledFile", "compile_directory"]
