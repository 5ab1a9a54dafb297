"""Compiled functions: numba's, or for commands that should start at once the same machine code without numba.

`warm` gathers the machine code that numba keeps in its cache, file by file, into one file, the pack. A process that has
called `use_pack` before it imports kernels links what it calls from there. It imports neither numba nor its compiler
(0.2 s) and reads no types, bitcode and debug texts beside the code (20 ms a kernel). As it is the same code the bits of
the results are the same. A call that the pack has no code for goes to numba.
"""

from __future__ import annotations

from rtpipeline.kernels.decorator import kernel, use_pack

__all__ = ["kernel", "use_pack"]
