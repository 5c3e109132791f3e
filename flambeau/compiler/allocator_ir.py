"""The caching allocator itself: malloc, calloc, realloc and free in LLVM IR.

Four size classes per power of two, a list of free blocks for each. What a block needs to be freed
stands in a header before its data. Blocks from 2 MB up begin on a huge page.
"""

from __future__ import annotations

import sys

from . import layout

COUNTERS = (
    "current", "peak", "cached", "allocations", "frees", "reused", "strays", "limit",
)  # fmt: skip
LARGE = 1 << 20  # bytes of an array that make the allocator worth loading

_HEADER = 64
_HUGE = 2 << 20
_MADV_HUGEPAGE = 14
_CLASSES = 192  # sizes below 2^48 bytes


def render_allocator(locked: bool) -> str:
    """Return the IR of cache_malloc, cache_calloc, cache_realloc, cache_free and the rest.

    NumPy calls a handler with the GIL held, which is all the lock it takes; `locked` is for
    interpreters without one, and costs 15 ns per array.
    """
    declaration = advise = ""
    if sys.platform == "linux":
        declaration = "declare i32 @madvise(ptr, i64, i32)"
        advise = f"%r = call i32 @madvise(ptr %p, i64 %n, i32 {_MADV_HUGEPAGE})"
    lock = _SPIN_LOCK if locked else _NO_LOCK
    ir = _render_state(declaration, advise) + lock + _OBTAIN + _RELEASE + _ENTRIES
    offsets = {name: 8 * index for index, name in enumerate(COUNTERS)}
    return layout.place_names(ir, "counters", offsets)


def _render_state(declaration: str, advise: str) -> str:
    return f"""
; Before the data: what libc returned, the class, the bytes asked for, the next free block, a mark.
%header = type {{ ptr, i64, i64, ptr, i64, [3 x i64] }}
@heads = internal global [{_CLASSES} x ptr] zeroinitializer, align 64
@counters = internal global [{len(COUNTERS)} x i64] zeroinitializer, align 64
@lock = internal global i32 0, align 64
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare void @free(ptr)
declare i64 @llvm.ctlz.i64(i64, i1)
declare {{i64, i1}} @llvm.umul.with.overflow.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
{declaration}

define internal void @huge(ptr %p, i64 %n) {{
  {advise}
  ret void
}}

define ptr @cache_counters() {{
  ret ptr @counters
}}

; Class 4 * log2 + quarter of the smallest size class that holds %s bytes, at least 64.
define internal i64 @class_of(i64 %s) alwaysinline {{
  %tiny = icmp ult i64 %s, 64
  %at = select i1 %tiny, i64 64, i64 %s
  %m = sub i64 %at, 1
  %z = call i64 @llvm.ctlz.i64(i64 %m, i1 true)
  %log = sub i64 63, %z
  %shift = sub i64 %log, 2
  %top = lshr i64 %m, %shift
  %quarter = and i64 %top, 3
  %four = shl i64 %log, 2
  %k = or i64 %four, %quarter
  ret i64 %k
}}

define internal i64 @size_of(i64 %k) alwaysinline {{
  %log = lshr i64 %k, 2
  %quarter = and i64 %k, 3
  %top = add i64 %quarter, 5
  %shift = sub i64 %log, 2
  %s = shl i64 %top, %shift
  ret i64 %s
}}

define internal ptr @header_of(ptr %p) alwaysinline {{
  %h = getelementptr i8, ptr %p, i64 -{_HEADER}
  ret ptr %h
}}
"""


_SPIN_LOCK = """
define internal void @acquire() alwaysinline {
entry:
  br label %try
try:
  %c = cmpxchg weak ptr @lock, i32 0, i32 1 acquire monotonic
  %ok = extractvalue {i32, i1} %c, 1
  br i1 %ok, label %done, label %try
done:
  ret void
}

define void @cache_unlock() alwaysinline {
  store atomic i32 0, ptr @lock release, align 4
  ret void
}
"""

_NO_LOCK = """
define internal void @acquire() alwaysinline {
  ret void
}

define void @cache_unlock() alwaysinline {
  ret void
}
"""

_LIVE, _FREE = 0x6C69766521, 0x6672656521

# obtain: a block of the class from its list, or a fresh one; only a fresh one can be zero already.
_OBTAIN = f"""
define internal ptr @fresh(i64 %k, i1 %zero) noinline {{
entry:
  %size = call i64 @size_of(i64 %k)
  %large = icmp uge i64 %size, {_HUGE}
  %align = select i1 %large, i64 {_HUGE}, i64 64
  %pad = add i64 %align, {_HEADER}
  %total = add i64 %size, %pad
  br i1 %zero, label %cleared, label %any
cleared:
  %c = call ptr @calloc(i64 1, i64 %total)
  br label %got
any:
  %m = call ptr @malloc(i64 %total)
  br label %got
got:
  %raw = phi ptr [%c, %cleared], [%m, %any]
  %null = icmp eq ptr %raw, null
  br i1 %null, label %none, label %place
place:
  %r = ptrtoint ptr %raw to i64
  %up = add i64 %r, %pad
  %mask = sub i64 0, %align
  %at = and i64 %up, %mask
  %p = inttoptr i64 %at to ptr
  %h = call ptr @header_of(ptr %p)
  store ptr %raw, ptr %h
  %kp = getelementptr %header, ptr %h, i32 0, i32 1
  store i64 %k, ptr %kp
  br i1 %large, label %advise, label %ready
advise:
  call void @huge(ptr %p, i64 %size)
  br label %ready
ready:
  ret ptr %p
none:
  ret ptr null
}}

; Blocks in the cache are of no use to this program if large ones are missing while it is half full.
define internal ptr @miss(i64 %k, i1 %zero) noinline {{
entry:
  %size = call i64 @size_of(i64 %k)
  %big = icmp uge i64 %size, {LARGE}
  %have = load i64, ptr @cached
  %most = load i64, ptr @limit
  %half = lshr i64 %most, 1
  %much = icmp ugt i64 %have, %half
  %clear = and i1 %big, %much
  br i1 %clear, label %first, label %take
first:
  call void @cache_flush()
  br label %take
take:
  %p = call ptr @fresh(i64 %k, i1 %zero)
  %null = icmp eq ptr %p, null
  br i1 %null, label %again, label %done
again:
  call void @cache_flush()
  %q = call ptr @fresh(i64 %k, i1 %zero)
  ret ptr %q
done:
  ret ptr %p
}}

define internal ptr @obtain(i64 %s, i1 %zero) {{
entry:
  %sane = icmp ult i64 %s, {1 << 47}
  br i1 %sane, label %classed, label %none
classed:
  %k = call i64 @class_of(i64 %s)
  %lp = getelementptr ptr, ptr @heads, i64 %k
  call void @acquire()
  %head = load ptr, ptr %lp
  %empty = icmp eq ptr %head, null
  br i1 %empty, label %slow, label %pop
pop:
  %hh = call ptr @header_of(ptr %head)
  %np = getelementptr %header, ptr %hh, i32 0, i32 3
  %next = load ptr, ptr %np
  store ptr %next, ptr %lp
  %size = call i64 @size_of(i64 %k)
  %c0 = load i64, ptr @cached
  %c1 = sub i64 %c0, %size
  store i64 %c1, ptr @cached
  %r0 = load i64, ptr @reused
  %r1 = add i64 %r0, 1
  store i64 %r1, ptr @reused
  call void @count(ptr %hh, i64 %s)
  call void @cache_unlock()
  br i1 %zero, label %wipe, label %out
wipe:
  call void @llvm.memset.p0.i64(ptr %head, i8 0, i64 %s, i1 false)
  br label %out
out:
  ret ptr %head
slow:
  call void @cache_unlock()
  %p = call ptr @miss(i64 %k, i1 %zero)
  %null = icmp eq ptr %p, null
  br i1 %null, label %none, label %new
new:
  %nh = call ptr @header_of(ptr %p)
  call void @acquire()
  call void @count(ptr %nh, i64 %s)
  call void @cache_unlock()
  ret ptr %p
none:
  ret ptr null
}}

; Book a block as live; under the lock.
define internal void @count(ptr %h, i64 %s) alwaysinline {{
  %sp = getelementptr %header, ptr %h, i32 0, i32 2
  store i64 %s, ptr %sp
  %mp = getelementptr %header, ptr %h, i32 0, i32 4
  store i64 {_LIVE}, ptr %mp
  %a0 = load i64, ptr @allocations
  %a1 = add i64 %a0, 1
  store i64 %a1, ptr @allocations
  call void @grow(i64 %s)
  ret void
}}

define internal void @grow(i64 %by) alwaysinline {{
  %l0 = load i64, ptr @current
  %l1 = add i64 %l0, %by
  store i64 %l1, ptr @current
  %p0 = load i64, ptr @peak
  %more = icmp sgt i64 %l1, %p0
  %p1 = select i1 %more, i64 %l1, i64 %p0
  store i64 %p1, ptr @peak
  ret void
}}
"""

_RELEASE = f"""
define void @cache_free(ptr %ctx, ptr %p, i64 %ignored) {{
entry:
  %null = icmp eq ptr %p, null
  br i1 %null, label %out, label %look
look:
  %h = call ptr @header_of(ptr %p)
  call void @acquire()
  %mp = getelementptr %header, ptr %h, i32 0, i32 4
  %mark = load i64, ptr %mp
  %live = icmp eq i64 %mark, {_LIVE}
  br i1 %live, label %ours, label %stray
stray:
  ; Freed twice or overwritten: leaking it is the harmless choice.
  %s0 = load i64, ptr @strays
  %s1 = add i64 %s0, 1
  store i64 %s1, ptr @strays
  call void @cache_unlock()
  ret void
ours:
  store i64 {_FREE}, ptr %mp
  %kp = getelementptr %header, ptr %h, i32 0, i32 1
  %k = load i64, ptr %kp
  %bp = getelementptr %header, ptr %h, i32 0, i32 2
  %bytes = load i64, ptr %bp
  %l0 = load i64, ptr @current
  %l1 = sub i64 %l0, %bytes
  store i64 %l1, ptr @current
  %f0 = load i64, ptr @frees
  %f1 = add i64 %f0, 1
  store i64 %f1, ptr @frees
  %size = call i64 @size_of(i64 %k)
  %c0 = load i64, ptr @cached
  %c1 = add i64 %c0, %size
  %most = load i64, ptr @limit
  %over = icmp ugt i64 %c1, %most
  br i1 %over, label %back, label %keep
keep:
  store i64 %c1, ptr @cached
  %lp = getelementptr ptr, ptr @heads, i64 %k
  %head = load ptr, ptr %lp
  %np = getelementptr %header, ptr %h, i32 0, i32 3
  store ptr %head, ptr %np
  store ptr %p, ptr %lp
  call void @cache_unlock()
  ret void
back:
  call void @cache_unlock()
  %raw = load ptr, ptr %h
  call void @free(ptr %raw)
  ret void
out:
  ret void
}}

define void @cache_flush() {{
entry:
  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %next]
  %more = icmp ult i64 %k, {_CLASSES}
  br i1 %more, label %detach, label %done
detach:
  %lp = getelementptr ptr, ptr @heads, i64 %k
  %size = call i64 @size_of(i64 %k)
  call void @acquire()
  %list = load ptr, ptr %lp
  store ptr null, ptr %lp
  call void @cache_unlock()
  br label %walk
walk:
  %p = phi ptr [%list, %detach], [%q, %drop]
  %freed = phi i64 [0, %detach], [%freed1, %drop]
  %end = icmp eq ptr %p, null
  br i1 %end, label %settle, label %drop
drop:
  %h = call ptr @header_of(ptr %p)
  %np = getelementptr %header, ptr %h, i32 0, i32 3
  %q = load ptr, ptr %np
  %raw = load ptr, ptr %h
  call void @free(ptr %raw)
  %freed1 = add i64 %freed, %size
  br label %walk
settle:
  call void @acquire()
  %c0 = load i64, ptr @cached
  %c1 = sub i64 %c0, %freed
  store i64 %c1, ptr @cached
  call void @cache_unlock()
  br label %next
next:
  %k1 = add i64 %k, 1
  br label %head
done:
  ret void
}}
"""

_ENTRIES = """
define ptr @cache_malloc(ptr %ctx, i64 %s) {
  %p = call ptr @obtain(i64 %s, i1 false)
  ret ptr %p
}

define ptr @cache_calloc(ptr %ctx, i64 %n, i64 %each) {
  %m = call {i64, i1} @llvm.umul.with.overflow.i64(i64 %n, i64 %each)
  %s = extractvalue {i64, i1} %m, 0
  %over = extractvalue {i64, i1} %m, 1
  br i1 %over, label %none, label %fine
fine:
  %p = call ptr @obtain(i64 %s, i1 true)
  ret ptr %p
none:
  ret ptr null
}

; A block that stays in its class stays where it is.
define ptr @cache_realloc(ptr %ctx, ptr %p, i64 %s) {
entry:
  %null = icmp eq ptr %p, null
  br i1 %null, label %new, label %look
new:
  %n = call ptr @obtain(i64 %s, i1 false)
  ret ptr %n
look:
  %h = call ptr @header_of(ptr %p)
  %kp = getelementptr %header, ptr %h, i32 0, i32 1
  %k = load i64, ptr %kp
  %bp = getelementptr %header, ptr %h, i32 0, i32 2
  %old = load i64, ptr %bp
  %kn = call i64 @class_of(i64 %s)
  %same = icmp eq i64 %k, %kn
  br i1 %same, label %stay, label %move
stay:
  %by = sub i64 %s, %old
  call void @acquire()
  store i64 %s, ptr %bp
  call void @grow(i64 %by)
  call void @cache_unlock()
  ret ptr %p
move:
  %q = call ptr @obtain(i64 %s, i1 false)
  %failed = icmp eq ptr %q, null
  br i1 %failed, label %none, label %copy
copy:
  %less = icmp ult i64 %s, %old
  %both = select i1 %less, i64 %s, i64 %old
  call void @llvm.memcpy.p0.p0.i64(ptr %q, ptr %p, i64 %both, i1 false)
  call void @cache_free(ptr null, ptr %p, i64 0)
  ret ptr %q
none:
  ret ptr null
}
"""
