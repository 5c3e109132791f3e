"""The launchers themselves: builtin functions written in LLVM IR against CPython and NumPy 2."""

from __future__ import annotations

# Where the fields of PyArrayObject and PyArray_Descr are in every NumPy 2.x (64-bit).
DATA, NDIM, DIMS, STRIDES, DESCR, FLAGS = 16, 24, 32, 40, 56, 64
# kind, type, byteorder, an unused byte, then type_num: read as one little-endian word.
DESCR_KIND = 24
DESCR_MASK = 0xFFFFFFFF00FF0000
CHECK_DTYPE = 1

# Flags of a descriptor.
RELEASE, RETURNS_INT, RETURNS_FLOAT, PARALLEL, TABLES = 1, 2, 4, 8, 16

KINDS = {"a": 0, "A": 1, "o": 2, "t": 3, "i": 4, "f": 5, "p": 6}
WORDS = {"A": 4, "t": 2}

SYMBOLS = (
    "PyArray_Type", "PyLong_Type", "PyBool_Type", "PyFloat_Type", "PyList_Type", "PyTuple_Type",
    "_Py_NoneStruct", "PyBytes_AsString", "PyObject_Vectorcall", "PyErr_Occurred", "PyErr_Clear",
    "PyLong_AsLongLong", "PyLong_AsVoidPtr", "PyLong_FromLongLong", "PyFloat_AsDouble",
    "PyFloat_FromDouble", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_IncRef",
    "PyList_Size", "PyTuple_Size", "PyList_GetItem", "PyTuple_GetItem",
)  # fmt: skip

_LONGEST_TABLE = 4096  # arrays on the stack; a longer table goes through Python


def render_launchers() -> str:
    """Return the module with `launch_typed`, `launch_any`, `launch_slowly` and `probe`."""
    return "\n".join((_DECLARATIONS, _READERS, _NUMBERS, _TABLES, _TYPED, _ANY, _INVOKE, _PROBE))


_DECLARATIONS = """
@PyArray_Type = external global i8
@PyLong_Type = external global i8
@PyBool_Type = external global i8
@PyFloat_Type = external global i8
@PyList_Type = external global i8
@PyTuple_Type = external global i8
@_Py_NoneStruct = external global i8
declare ptr @PyBytes_AsString(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare i64 @PyLong_AsLongLong(ptr)
declare i64 @PyLong_AsVoidPtr(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)
declare i64 @PyList_Size(ptr)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyTuple_GetItem(ptr, i64)
"""

# Each reader stores what it read and tells whether the object was exactly what it knows.
_READERS = f"""
define internal ptr @type_of(ptr %o) alwaysinline {{
  %p = getelementptr i8, ptr %o, i64 8
  %t = load ptr, ptr %p
  ret ptr %t
}}

define internal i1 @fits(ptr %o, i64 %kind, i64 %want) alwaysinline {{
  %t = call ptr @type_of(ptr %o)
  %is = icmp eq ptr %t, @PyArray_Type
  br i1 %is, label %array, label %no
array:
  %fp = getelementptr i8, ptr %o, i64 {FLAGS}
  %fl = load i32, ptr %fp
  %hi = lshr i64 %kind, 32
  %need = trunc i64 %hi to i32
  %have = and i32 %fl, %need
  %all = icmp eq i32 %have, %need
  br i1 %all, label %flagged, label %no
flagged:
  %check = trunc i64 %want to i1
  br i1 %check, label %dtype, label %yes
dtype:
  %dp = getelementptr i8, ptr %o, i64 {DESCR}
  %d = load ptr, ptr %dp
  %wp = getelementptr i8, ptr %d, i64 {DESCR_KIND}
  %w = load i64, ptr %wp
  %m = and i64 %w, {DESCR_MASK - (1 << 64)}
  %e = and i64 %want, -2
  %same = icmp eq i64 %m, %e
  ret i1 %same
yes:
  ret i1 true
no:
  ret i1 false
}}

define internal i64 @data_of(ptr %o) alwaysinline {{
  %p = getelementptr i8, ptr %o, i64 {DATA}
  %d = load i64, ptr %p
  ret i64 %d
}}

define internal i1 @failed() {{
  %e = call ptr @PyErr_Occurred()
  %none = icmp eq ptr %e, null
  br i1 %none, label %fine, label %clear
clear:
  call void @PyErr_Clear()
  ret i1 true
fine:
  ret i1 false
}}
"""


def _render_number(name: str, types: tuple[str, str], kind: str, convert: str, error: str) -> str:
    """Return a reader of numbers of exactly two types; `error` is the result that may mean one."""
    return f"""
define internal i1 @{name}(ptr %o, ptr %out) alwaysinline {{
  %t = call ptr @type_of(ptr %o)
  %x = icmp eq ptr %t, @{types[0]}
  %y = icmp eq ptr %t, @{types[1]}
  %known = or i1 %x, %y
  br i1 %known, label %number, label %no
number:
  %v = call {kind} @{convert}(ptr %o)
  store {kind} %v, ptr %out
  %odd = {error}
  br i1 %odd, label %doubt, label %yes
doubt:
  %f = call i1 @failed()
  %g = xor i1 %f, true
  ret i1 %g
yes:
  ret i1 true
no:
  ret i1 false
}}
"""


_NUMBERS = "".join(
    (
        _render_number(
            "read_int", ("PyLong_Type", "PyBool_Type"), "i64", "PyLong_AsLongLong",
            "icmp eq i64 %v, -1",
        ),
        _render_number(
            "read_address", ("PyLong_Type", "PyLong_Type"), "i64", "PyLong_AsVoidPtr",
            "icmp eq i64 %v, 0",
        ),
        _render_number(
            "read_float", ("PyFloat_Type", "PyLong_Type"), "double", "PyFloat_AsDouble",
            "fcmp oeq double %v, -1.0",
        ),
    )
)  # fmt: skip

# table_rows sizes all tables of a call before the stack is taken; fill_table writes one.
_TABLES = f"""
define internal i64 @length(ptr %o) {{
  %t = call ptr @type_of(ptr %o)
  %l = icmp eq ptr %t, @PyList_Type
  br i1 %l, label %list, label %other
list:
  %nl = call i64 @PyList_Size(ptr %o)
  ret i64 %nl
other:
  %u = icmp eq ptr %t, @PyTuple_Type
  br i1 %u, label %tuple, label %no
tuple:
  %nt = call i64 @PyTuple_Size(ptr %o)
  ret i64 %nt
no:
  ret i64 -1
}}

define internal i64 @table_rows(ptr %params, i64 %n, ptr %args) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %next]
  %sum = phi i64 [0, %entry], [%sum1, %next]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %look, label %done
look:
  %kp = getelementptr [2 x i64], ptr %params, i64 %i
  %kind = load i8, ptr %kp
  %table = icmp eq i8 %kind, {KINDS["t"]}
  br i1 %table, label %count, label %next
count:
  %op = getelementptr ptr, ptr %args, i64 %i
  %o = load ptr, ptr %op
  %len = call i64 @length(ptr %o)
  %small = icmp ule i64 %len, {_LONGEST_TABLE}
  br i1 %small, label %next, label %no
next:
  %add = phi i64 [0, %look], [%len, %count]
  %sum1 = add i64 %sum, %add
  %i1 = add i64 %i, 1
  br label %head
done:
  ret i64 %sum
no:
  ret i64 -1
}}

define internal i64 @elements(ptr %o) {{
entry:
  %np = getelementptr i8, ptr %o, i64 {NDIM}
  %n = load i32, ptr %np
  %dp = getelementptr i8, ptr %o, i64 {DIMS}
  %d = load ptr, ptr %dp
  br label %head
head:
  %i = phi i32 [0, %entry], [%i1, %body]
  %size = phi i64 [1, %entry], [%size1, %body]
  %more = icmp slt i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %p = getelementptr i64, ptr %d, i32 %i
  %v = load i64, ptr %p
  %size1 = mul i64 %size, %v
  %i1 = add i32 %i, 1
  br label %head
done:
  ret i64 %size
}}

define internal i64 @fill_table(ptr %o, i64 %kind, i64 %want, ptr %rows) {{
entry:
  %n = call i64 @length(ptr %o)
  %t = call ptr @type_of(ptr %o)
  %l = icmp eq ptr %t, @PyList_Type
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %write]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %get, label %done
get:
  br i1 %l, label %list, label %tuple
list:
  %a = call ptr @PyList_GetItem(ptr %o, i64 %i)
  br label %got
tuple:
  %b = call ptr @PyTuple_GetItem(ptr %o, i64 %i)
  br label %got
got:
  %x = phi ptr [%a, %list], [%b, %tuple]
  %ok = call i1 @fits(ptr %x, i64 %kind, i64 %want)
  br i1 %ok, label %write, label %no
write:
  %p = getelementptr [2 x i64], ptr %rows, i64 %i
  %d = call i64 @data_of(ptr %x)
  store i64 %d, ptr %p
  %p1 = getelementptr i64, ptr %p, i64 1
  %e = call i64 @elements(ptr %x)
  store i64 %e, ptr %p1
  %i1 = add i64 %i, 1
  br label %head
done:
  ret i64 %n
no:
  ret i64 -1
}}
"""

_TYPED = f"""
define ptr @launch_typed(ptr %self, ptr %args, i64 %n) {{
entry:
  %position = alloca i64
  %word = alloca ptr
  %row = alloca ptr
  %chunks = alloca i64
  %d = call ptr @PyBytes_AsString(ptr %self)
  %np = getelementptr i64, ptr %d, i64 2
  %wanted = load i64, ptr %np
  %wp = getelementptr i64, ptr %d, i64 3
  %width = load i64, ptr %wp
  %fp = getelementptr i64, ptr %d, i64 4
  %flags = load i64, ptr %fp
  %params = getelementptr i64, ptr %d, i64 8
  %par = and i64 %flags, {PARALLEL}
  %skip = lshr i64 %par, {PARALLEL.bit_length() - 1}
  %rest = getelementptr ptr, ptr %args, i64 %skip
  %total = add i64 %wanted, %skip
  %right = icmp eq i64 %n, %total
  store i64 0, ptr %chunks
  store i64 0, ptr %position
  br i1 %right, label %counted, label %slow
counted:
  %serial = icmp eq i64 %skip, 0
  br i1 %serial, label %size, label %count
count:
  %first = load ptr, ptr %args
  %isint = call i1 @read_int(ptr %first, ptr %chunks)
  br i1 %isint, label %size, label %slow
size:
  %tab = and i64 %flags, {TABLES}
  %plain = icmp eq i64 %tab, 0
  br i1 %plain, label %room, label %measure
measure:
  %sum = call i64 @table_rows(ptr %params, i64 %wanted, ptr %rest)
  %misfit = icmp slt i64 %sum, 0
  br i1 %misfit, label %slow, label %room
room:
  %rows = phi i64 [0, %size], [%sum, %measure]
  %both = shl i64 %rows, 1
  %all = add i64 %both, %width
  %space = add i64 %all, 1
  %words = alloca i64, i64 %space, align 16
  %table = getelementptr i64, ptr %words, i64 %width
  store ptr %words, ptr %word
  store ptr %table, ptr %row
  br label %head
head:
  %i = load i64, ptr %position
  %more = icmp ult i64 %i, %wanted
  br i1 %more, label %read, label %ready
read:
  %op = getelementptr ptr, ptr %rest, i64 %i
  %o = load ptr, ptr %op
  %kp = getelementptr [2 x i64], ptr %params, i64 %i
  %kind = load i64, ptr %kp
  %tp = getelementptr i64, ptr %kp, i64 1
  %want = load i64, ptr %tp
  %w = load ptr, ptr %word
  %letter = trunc i64 %kind to i8
  switch i8 %letter, label %slow [
    i8 {KINDS["a"]}, label %array
    i8 {KINDS["A"]}, label %shaped
    i8 {KINDS["o"]}, label %optional
    i8 {KINDS["t"]}, label %tabled
    i8 {KINDS["i"]}, label %integer
    i8 {KINDS["f"]}, label %real
    i8 {KINDS["p"]}, label %address
  ]
array:
  %afits = call i1 @fits(ptr %o, i64 %kind, i64 %want)
  br i1 %afits, label %pointer, label %slow
optional:
  %isnone = icmp eq ptr %o, @_Py_NoneStruct
  br i1 %isnone, label %nothing, label %array
nothing:
  store i64 0, ptr %w
  br label %next
pointer:
  %data = call i64 @data_of(ptr %o)
  store i64 %data, ptr %w
  br label %next
shaped:
  %sfits = call i1 @fits(ptr %o, i64 %kind, i64 %want)
  br i1 %sfits, label %fields, label %slow
fields:
  %sdata = call i64 @data_of(ptr %o)
  store i64 %sdata, ptr %w
  %ndp = getelementptr i8, ptr %o, i64 {NDIM}
  %nd32 = load i32, ptr %ndp
  %nd = zext i32 %nd32 to i64
  %w1 = getelementptr i64, ptr %w, i64 1
  store i64 %nd, ptr %w1
  %dimp = getelementptr i8, ptr %o, i64 {DIMS}
  %dims = load i64, ptr %dimp
  %w2 = getelementptr i64, ptr %w, i64 2
  store i64 %dims, ptr %w2
  %strp = getelementptr i8, ptr %o, i64 {STRIDES}
  %strides = load i64, ptr %strp
  %w3 = getelementptr i64, ptr %w, i64 3
  store i64 %strides, ptr %w3
  br label %next
tabled:
  %r = load ptr, ptr %row
  %filled = call i64 @fill_table(ptr %o, i64 %kind, i64 %want, ptr %r)
  %bad = icmp slt i64 %filled, 0
  br i1 %bad, label %slow, label %rowed
rowed:
  store ptr %r, ptr %w
  %t1 = getelementptr i64, ptr %w, i64 1
  store i64 %filled, ptr %t1
  %r1 = getelementptr [2 x i64], ptr %r, i64 %filled
  store ptr %r1, ptr %row
  br label %next
integer:
  %iok = call i1 @read_int(ptr %o, ptr %w)
  br i1 %iok, label %next, label %slow
real:
  %rok = call i1 @read_float(ptr %o, ptr %w)
  br i1 %rok, label %next, label %slow
address:
  %pok = call i1 @read_address(ptr %o, ptr %w)
  br i1 %pok, label %next, label %slow
next:
  %step = phi i64 [1, %nothing], [1, %pointer], [{WORDS["A"]}, %fields], [{WORDS["t"]}, %rowed],
                  [1, %integer], [1, %real], [1, %address]
  %wn = getelementptr i64, ptr %w, i64 %step
  store ptr %wn, ptr %word
  %in = add i64 %i, 1
  store i64 %in, ptr %position
  br label %head
ready:
  %c = load i64, ptr %chunks
  %result = call ptr @invoke(ptr %d, i64 %flags, ptr %words, i64 %c, ptr %args, i64 %n)
  ret ptr %result
slow:
  %answer = call ptr @call_slowly(ptr %d, ptr %args, i64 %n)
  ret ptr %answer
}}
"""

_ANY = f"""
define ptr @launch_any(ptr %self, ptr %args, i64 %n) {{
entry:
  %chunks = alloca i64
  %d = call ptr @PyBytes_AsString(ptr %self)
  %fp = getelementptr i64, ptr %d, i64 4
  %flags = load i64, ptr %fp
  %par = and i64 %flags, {PARALLEL}
  %skip = lshr i64 %par, {PARALLEL.bit_length() - 1}
  store i64 0, ptr %chunks
  %large = icmp ugt i64 %n, {_LONGEST_TABLE}
  %none = icmp ult i64 %n, %skip
  %odd = or i1 %large, %none
  br i1 %odd, label %slow, label %room
room:
  %words = alloca i64, i64 %n, align 16
  %serial = icmp eq i64 %skip, 0
  br i1 %serial, label %start, label %count
count:
  %first = load ptr, ptr %args
  %isint = call i1 @read_int(ptr %first, ptr %chunks)
  br i1 %isint, label %start, label %slow
start:
  br label %head
head:
  %i = phi i64 [%skip, %start], [%in, %next]
  %k = sub i64 %i, %skip
  %w = getelementptr i64, ptr %words, i64 %k
  %more = icmp ult i64 %i, %n
  br i1 %more, label %read, label %ready
read:
  %op = getelementptr ptr, ptr %args, i64 %i
  %o = load ptr, ptr %op
  %t = call ptr @type_of(ptr %o)
  %isarray = icmp eq ptr %t, @PyArray_Type
  br i1 %isarray, label %array, label %scalar
array:
  %data = call i64 @data_of(ptr %o)
  store i64 %data, ptr %w
  br label %next
scalar:
  %isfloat = icmp eq ptr %t, @PyFloat_Type
  br i1 %isfloat, label %real, label %other
real:
  %rok = call i1 @read_float(ptr %o, ptr %w)
  br i1 %rok, label %next, label %slow
other:
  %isnone = icmp eq ptr %o, @_Py_NoneStruct
  br i1 %isnone, label %nothing, label %integer
nothing:
  store i64 0, ptr %w
  br label %next
integer:
  %iok = call i1 @read_int(ptr %o, ptr %w)
  br i1 %iok, label %next, label %slow
next:
  %in = add i64 %i, 1
  br label %head
ready:
  %c = load i64, ptr %chunks
  %result = call ptr @invoke(ptr %d, i64 %flags, ptr %words, i64 %c, ptr %args, i64 %n)
  ret ptr %result
slow:
  %answer = call ptr @call_slowly(ptr %d, ptr %args, i64 %n)
  ret ptr %answer
}}
"""

_INVOKE = f"""
define internal ptr @call_slowly(ptr %d, ptr %args, i64 %n) noinline {{
  %p = getelementptr i64, ptr %d, i64 1
  %f = load ptr, ptr %p
  %r = call ptr @PyObject_Vectorcall(ptr %f, ptr %args, i64 %n, ptr null)
  ret ptr %r
}}

define ptr @launch_slowly(ptr %self, ptr %args, i64 %n) {{
  %d = call ptr @PyBytes_AsString(ptr %self)
  %r = call ptr @call_slowly(ptr %d, ptr %args, i64 %n)
  ret ptr %r
}}

define internal ptr @save(i64 %flags) alwaysinline {{
  %b = and i64 %flags, {RELEASE}
  %on = icmp ne i64 %b, 0
  br i1 %on, label %yes, label %no
yes:
  %s = call ptr @PyEval_SaveThread()
  ret ptr %s
no:
  ret ptr null
}}

define internal void @restore(ptr %s) alwaysinline {{
  %off = icmp eq ptr %s, null
  br i1 %off, label %done, label %yes
yes:
  call void @PyEval_RestoreThread(ptr %s)
  br label %done
done:
  ret void
}}

define internal ptr @invoke(ptr %d, i64 %flags, ptr %words, i64 %chunks, ptr %args, i64 %n)
    alwaysinline {{
entry:
  %f = load ptr, ptr %d
  %kinds = and i64 %flags, {RETURNS_INT | RETURNS_FLOAT | PARALLEL}
  switch i64 %kinds, label %plain [
    i64 {RETURNS_INT}, label %integer
    i64 {RETURNS_FLOAT}, label %real
    i64 {PARALLEL}, label %parallel
  ]
plain:
  %s0 = call ptr @save(i64 %flags)
  call void %f(ptr %words)
  call void @restore(ptr %s0)
  br label %none
integer:
  %s1 = call ptr @save(i64 %flags)
  %i = call i64 %f(ptr %words)
  call void @restore(ptr %s1)
  %oi = call ptr @PyLong_FromLongLong(i64 %i)
  ret ptr %oi
real:
  %s2 = call ptr @save(i64 %flags)
  %r = call double %f(ptr %words)
  call void @restore(ptr %s2)
  %or = call ptr @PyFloat_FromDouble(double %r)
  ret ptr %or
parallel:
  %several = icmp sgt i64 %chunks, 1
  br i1 %several, label %pooled, label %few
few:
  %one = icmp eq i64 %chunks, 1
  br i1 %one, label %alone, label %none
alone:
  %s3 = call ptr @save(i64 %flags)
  call void %f(ptr %words, i64 0, i64 0)
  call void @restore(ptr %s3)
  br label %none
pooled:
  %rp = getelementptr i64, ptr %d, i64 6
  %ready = load ptr, ptr %rp
  %portable = icmp eq ptr %ready, null
  br i1 %portable, label %slow, label %native
native:
  %on = load atomic i32, ptr %ready acquire, align 4
  %off = icmp eq i32 %on, 0
  br i1 %off, label %slow, label %go
go:
  %pp = getelementptr i64, ptr %d, i64 5
  %run = load ptr, ptr %pp
  %s4 = call ptr @PyEval_SaveThread()
  call void %run(ptr %f, ptr %words, i64 %chunks)
  call void @PyEval_RestoreThread(ptr %s4)
  br label %none
none:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
slow:
  %answer = call ptr @call_slowly(ptr %d, ptr %args, i64 %n)
  ret ptr %answer
}}
"""

# Copies its words to the array in word 0, as many as word 1 says.
_PROBE = """
define void @probe(ptr %words) {
entry:
  %out = load ptr, ptr %words
  %np = getelementptr i64, ptr %words, i64 1
  %n = load i64, ptr %np
  br label %head
head:
  %i = phi i64 [0, %entry], [%in, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %sp = getelementptr i64, ptr %words, i64 %i
  %v = load i64, ptr %sp
  %dp = getelementptr i64, ptr %out, i64 %i
  store i64 %v, ptr %dp
  %in = add i64 %i, 1
  br label %head
done:
  ret void
}
"""
