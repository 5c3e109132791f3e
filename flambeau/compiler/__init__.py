"""From loops over strided arrays to machine code, and the means to run it.

Read in the order of the work: `expressions` (what a loop computes), `vectors` and `microkernel`
(how a machine computes it), `gemm` and `packing` (contractions), `jit` (IR to object code, kept on
disk), `launch` (machine code as a Python callable), `threads` (its chunks on all cores),
`allocator` (the memory under the arrays), `target` (the machine).

llvmlite is imported here and nowhere else, by the first kernel and not before; nothing in here
imports from a higher floor. With FLAMBEAU_JIT=0 every module still imports and none compiles.
"""
