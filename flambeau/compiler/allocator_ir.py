"""The caching allocator itself: malloc, calloc, realloc and free in LLVM IR.

Four size classes per power of two, a list of free blocks for each. What a block needs to be freed
stands in a header before its data. Blocks from 2 MB up begin on a huge page and, on Linux, are
mapped one by one, so that the system has them back the moment they are given up.

The bookkeeping that every array pays for is five counters; what the system gave (`reserved`,
`owned`) is counted where it gives, and free blocks are counted by walking the lists when asked.
"""

from __future__ import annotations

import sys

from . import layout

COUNTERS = (
    "current", "peak", "cached", "allocations", "frees", "reused", "strays", "limit",
    "allocated", "reserved", "reserved_peak", "obtained", "budget", "retries", "refusals",
)  # fmt: skip
LARGE = 1 << 20  # bytes of an array that make the allocator worth loading

_HEADER = 64
_HUGE = 2 << 20
_MADV_HUGEPAGE = 14
_MAP = "i32 3, i32 34, i32 -1, i64 0"  # readable and writeable, private, of no file
CLASSES = 192  # sizes below 2^48 bytes
# Free memory that may lie about when a large array finds none of its size: this, or half of what
# arrays hold, or half of the cache's limit.
_IDLE = 64 << 20


def render_allocator(locked: bool) -> str:
    """Return the IR of cache_malloc, cache_calloc, cache_realloc, cache_free and the rest.

    NumPy calls a handler with the GIL held, which is all the lock it takes; `locked` is for
    interpreters without one, and costs 15 ns per array.
    """
    system = _LINUX if sys.platform == "linux" else _ELSEWHERE
    lock = _SPIN_LOCK if locked else _NO_LOCK
    ir = _STATE + system + lock + _OBTAIN + _FRESH + _RELEASE + _ENTRIES
    offsets = {name: 8 * index for index, name in enumerate(COUNTERS)}
    return layout.place_names(ir, "counters", offsets)


def size_of_class(number: int) -> int:
    """Return the bytes of a block of a size class."""
    return (number % 4 + 5) << (number // 4 - 2)


_STATE = f"""
; Before the data: what libc returned, the class, the bytes asked for, the next free block, a mark.
%header = type {{ ptr, i64, i64, ptr, i64, [3 x i64] }}
@heads = internal global [{CLASSES} x ptr] zeroinitializer, align 64
@owned = internal global [{CLASSES} x i64] zeroinitializer, align 64
@counters = internal global [{len(COUNTERS)} x i64] zeroinitializer, align 64
@lock = internal global i32 0, align 64
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare void @free(ptr)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare {{i64, i1}} @llvm.umul.with.overflow.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

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

# map and unmap serve blocks of 2 MB and more, of which `padded` bytes are asked for.
_LINUX = f"""
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @munmap(ptr, i64)
declare i32 @madvise(ptr, i64, i32)

define internal ptr @map(i64 %padded, i1 %zero) {{
  %p = call ptr @mmap(ptr null, i64 %padded, {_MAP})
  %a = ptrtoint ptr %p to i64
  %failed = icmp eq i64 %a, -1
  %r = select i1 %failed, ptr null, ptr %p
  ret ptr %r
}}

define internal void @unmap(ptr %p, i64 %padded) {{
  %r = call i32 @munmap(ptr %p, i64 %padded)
  ret void
}}

define internal void @huge(ptr %p, i64 %n) {{
  %r = call i32 @madvise(ptr %p, i64 %n, i32 {_MADV_HUGEPAGE})
  ret void
}}
"""

_ELSEWHERE = """
define internal ptr @map(i64 %padded, i1 %zero) {
  %p = call ptr @take(i64 %padded, i1 %zero)
  ret ptr %p
}

define internal void @unmap(ptr %p, i64 %padded) {
  call void @free(ptr %p)
  ret void
}

define internal void @huge(ptr %p, i64 %n) {
  ret void
}
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

# obtain: a block of the class from its list, or a fresh one.
_OBTAIN = f"""
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
  %t0 = load i64, ptr @allocated
  %t1 = add i64 %t0, %by
  store i64 %t1, ptr @allocated
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

# fresh: from the system; only such a block can be zero already. miss: if nothing else helps.
_FRESH = f"""
define internal ptr @take(i64 %n, i1 %zero) {{
  br i1 %zero, label %cleared, label %any
cleared:
  %c = call ptr @calloc(i64 1, i64 %n)
  ret ptr %c
any:
  %m = call ptr @malloc(i64 %n)
  ret ptr %m
}}

define internal ptr @fresh(i64 %k, i1 %zero) noinline {{
entry:
  %size = call i64 @size_of(i64 %k)
  %large = icmp uge i64 %size, {_HUGE}
  %align = select i1 %large, i64 {_HUGE}, i64 64
  %pad = add i64 %align, {_HEADER}
  %total = add i64 %size, %pad
  br i1 %large, label %mapped, label %heap
mapped:
  %m = call ptr @map(i64 %total, i1 %zero)
  br label %got
heap:
  %c = call ptr @take(i64 %total, i1 %zero)
  br label %got
got:
  %raw = phi ptr [%m, %mapped], [%c, %heap]
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
  call void @acquire()
  call void @own(i64 %k, i64 1)
  %o0 = load i64, ptr @obtained
  %o1 = add i64 %o0, %size
  store i64 %o1, ptr @obtained
  call void @cache_unlock()
  br i1 %large, label %advise, label %ready
advise:
  call void @huge(ptr %p, i64 %size)
  br label %ready
ready:
  ret ptr %p
none:
  ret ptr null
}}

; Give a block back to the system.
define internal void @surrender(ptr %p) noinline {{
entry:
  %h = call ptr @header_of(ptr %p)
  %raw = load ptr, ptr %h
  %kp = getelementptr %header, ptr %h, i32 0, i32 1
  %k = load i64, ptr %kp
  call void @acquire()
  call void @own(i64 %k, i64 -1)
  call void @cache_unlock()
  %size = call i64 @size_of(i64 %k)
  %large = icmp uge i64 %size, {_HUGE}
  br i1 %large, label %mapped, label %heap
mapped:
  %total = add i64 %size, {_HUGE + _HEADER}
  call void @unmap(ptr %raw, i64 %total)
  ret void
heap:
  call void @free(ptr %raw)
  ret void
}}

; Book `by` blocks more from the system; under the lock.
define internal void @own(i64 %k, i64 %by) {{
  %op = getelementptr i64, ptr @owned, i64 %k
  %n0 = load i64, ptr %op
  %n1 = add i64 %n0, %by
  store i64 %n1, ptr %op
  %size = call i64 @size_of(i64 %k)
  %bytes = mul i64 %size, %by
  %r0 = load i64, ptr @reserved
  %r1 = add i64 %r0, %bytes
  store i64 %r1, ptr @reserved
  %p0 = load i64, ptr @reserved_peak
  %p1 = call i64 @llvm.smax.i64(i64 %r1, i64 %p0)
  store i64 %p1, ptr @reserved_peak
  ret void
}}

define internal i1 @affordable(i64 %size) {{
  %have = load i64, ptr @reserved
  %sum = add i64 %have, %size
  %most = load i64, ptr @budget
  %fits = icmp ule i64 %sum, %most
  %free = icmp eq i64 %most, 0
  %either = or i1 %fits, %free
  ret i1 %either
}}

; Free blocks of other sizes go back to the system when they are many, or all that is left.
define internal ptr @miss(i64 %k, i1 %zero) noinline {{
entry:
  %size = call i64 @size_of(i64 %k)
  %big = icmp uge i64 %size, {LARGE}
  %have = load i64, ptr @cached
  %live = load i64, ptr @current
  %most = load i64, ptr @limit
  %half = lshr i64 %live, 1
  %idle = call i64 @llvm.umax.i64(i64 %half, i64 {_IDLE})
  %cap = lshr i64 %most, 1
  %bound = call i64 @llvm.umin.i64(i64 %idle, i64 %cap)
  %much = icmp ugt i64 %have, %bound
  %clear = and i1 %big, %much
  br i1 %clear, label %first, label %check
first:
  call void @cache_flush()
  br label %check
check:
  %cheap = call i1 @affordable(i64 %size)
  br i1 %cheap, label %try, label %again
try:
  %p = call ptr @fresh(i64 %k, i1 %zero)
  %null = icmp eq ptr %p, null
  br i1 %null, label %again, label %done
again:
  call void @acquire()
  %t0 = load i64, ptr @retries
  %t1 = add i64 %t0, 1
  store i64 %t1, ptr @retries
  call void @cache_unlock()
  call void @cache_flush()
  %now = call i1 @affordable(i64 %size)
  br i1 %now, label %last, label %refuse
last:
  %q = call ptr @fresh(i64 %k, i1 %zero)
  %lost = icmp eq ptr %q, null
  br i1 %lost, label %refuse, label %saved
saved:
  ret ptr %q
refuse:
  call void @acquire()
  %f0 = load i64, ptr @refusals
  %f1 = add i64 %f0, 1
  store i64 %f1, ptr @refusals
  call void @cache_unlock()
  ret ptr null
done:
  ret ptr %p
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
  call void @surrender(ptr %p)
  ret void
out:
  ret void
}}

define void @cache_flush() {{
entry:
  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %next]
  %more = icmp ult i64 %k, {CLASSES}
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
  call void @surrender(ptr %p)
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

; For each class, how many blocks there are and how many of them are free.
define void @cache_census(ptr %owned_out, ptr %free_out) {{
entry:
  call void @acquire()
  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %next]
  %more = icmp ult i64 %k, {CLASSES}
  br i1 %more, label %class, label %done
class:
  %ip = getelementptr i64, ptr @owned, i64 %k
  %n = load i64, ptr %ip
  %op = getelementptr i64, ptr %owned_out, i64 %k
  store i64 %n, ptr %op
  %lp = getelementptr ptr, ptr @heads, i64 %k
  %list = load ptr, ptr %lp
  br label %walk
walk:
  %p = phi ptr [%list, %class], [%q, %step]
  %count = phi i64 [0, %class], [%count1, %step]
  %end = icmp eq ptr %p, null
  br i1 %end, label %next, label %step
step:
  %h = call ptr @header_of(ptr %p)
  %np = getelementptr %header, ptr %h, i32 0, i32 3
  %q = load ptr, ptr %np
  %count1 = add i64 %count, 1
  br label %walk
next:
  %fp = getelementptr i64, ptr %free_out, i64 %k
  store i64 %count, ptr %fp
  %k1 = add i64 %k, 1
  br label %head
done:
  call void @cache_unlock()
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
