# lua-var bt: the Lua call stack in a core dump, without debug information for LuaJIT.
# lua_var.py has to be sourced first.
#
# It supports LuaJIT 2.1 with 64-bit references (LJ_GC64) on x86-64 and arm64.  The layout of
# LuaJIT's structures has been the same since 2020.  It is still verified: each object must
# have the expected type, and what surrounds a value must fit.  Names in the comments are from
# LuaJIT's sources (lj_obj.h, lj_frame.h, lj_debug.c, lj_bc.h).

import gdb
import struct


class LuaVarUnsure(LuaVarError):
    """What was read is not consistent, so nothing is printed about it."""


class LuaVarBytecode:
    """An instruction, decoded as far as it shows how a function was called."""

    # All instructions in the order of their opcodes (BCDEF): name, use of operand A (d:
    # destination, b: base of a call, -: anything else), and metamethod.
    TABLE = """
    ISLT - lt ISGE - lt ISLE - le ISGT - le ISEQV - eq ISNEV - eq ISEQS - eq ISNES - eq
    ISEQN - eq ISNEN - eq ISEQP - eq ISNEP - eq ISTC d - ISFC d - IST - - ISF - -
    ISTYPE - - ISNUM - - MOV d - NOT d - UNM d unm LEN d len
    ADDVN d add SUBVN d sub MULVN d mul DIVVN d div MODVN d mod
    ADDNV d add SUBNV d sub MULNV d mul DIVNV d div MODNV d mod
    ADDVV d add SUBVV d sub MULVV d mul DIVVV d div MODVV d mod POW d pow CAT d concat
    KSTR d - KCDATA d - KSHORT d - KNUM d - KPRI d - KNIL b -
    UGET d - USETV - - USETS - - USETN - - USETP - - UCLO - - FNEW d gc
    TNEW d gc TDUP d gc GGET d index GSET - newindex TGETV d index TGETS d index
    TGETB d index TGETR d index TSETV - newindex TSETS - newindex TSETB - newindex
    TSETM b newindex TSETR - newindex
    CALLM b call CALL b call CALLMT b call CALLT b call ITERC b call ITERN b call
    VARG b - ISNEXT b - RETM b - RET - - RET0 - - RET1 - -
    FORI b - JFORI b - FORL b - IFORL b - JFORL b - ITERL b - IITERL b - JITERL b -
    LOOP - - ILOOP - - JLOOP - - JMP - -
    FUNCF - - IFUNCF - - JFUNCF - - FUNCV - - IFUNCV - - JFUNCV - - FUNCC - - FUNCCW - -
    """.split()
    NAMES = TABLE[0::3]
    MODES = TABLE[1::3]
    METAMETHODS = TABLE[2::3]

    def __init__(self, word):
        self.op = word & 0xff
        self.a = word >> 8 & 0xff
        self.c = word >> 16 & 0xff
        self.b = word >> 24
        self.d = word >> 16
        if self.op >= len(self.NAMES):
            raise LuaVarUnsure("an instruction that LuaJIT 2.1 does not have")
        self.name = self.NAMES[self.op]
        self.mode = self.MODES[self.op]
        self.metamethod = self.METAMETHODS[self.op]


class LuaVarObject:
    """An object that LuaJIT's garbage collector manages: GChead."""

    STRING, THREAD, PROTO, FUNCTION, TRACE = 4, 6, 7, 8, 9

    @staticmethod
    def is_address(address):
        return 0x1000 <= address < 1 << 47 and address % 8 == 0

    @classmethod
    def check(cls, address, *types):
        """The type of the object at this address, which must be one of `types`."""
        if not cls.is_address(address):
            raise LuaVarUnsure("0x%x is not the address of an object" % address)
        found = LuaVarMemory.read(address + 9, 1)[0]
        if found not in types:
            raise LuaVarUnsure("the object at 0x%x has another type than expected" % address)
        return found

    @classmethod
    def string(cls, address):
        cls.check(address, cls.STRING)
        return LuaVarMemory.read(address + 24, min(LuaVarMemory.u32(address + 20), 1024))


class LuaVarProto:
    """The prototype of a Lua function: GCproto, which its bytecode follows."""

    SIZE = 104
    # The compiler's names of variables that have none in the source (VARNAMEDEF).
    HIDDEN = (b"(for index)", b"(for limit)", b"(for step)", b"(for generator)",
              b"(for state)", b"(for control)")

    def __init__(self, address):
        LuaVarObject.check(address, LuaVarObject.PROTO)
        self.address = address
        self.code = address + self.SIZE
        (self.size, self.constants, self.upvalues, chunk, self.first_line, self.lines,
         self.line_info, self.upvalue_info, self.variable_info) = struct.unpack(
             "<12x I 16x Q 20x B 3x Q i i Q Q Q", LuaVarMemory.read(address, self.SIZE))
        if not 0 < self.size < 1 << 26:
            raise LuaVarUnsure("a function of %u instructions" % self.size)
        self.chunk = LuaVarObject.string(chunk)

    def position(self, pc):
        """The number of the instruction at pc; None if it is not in this function."""
        at, rest = divmod(pc - self.code, 4)
        return at if 0 <= at < self.size and rest == 0 else None

    def instruction(self, position):
        return LuaVarBytecode(LuaVarMemory.u32(self.code + 4 * position))

    def line(self, position):
        """The line of an instruction: lj_debug_line."""
        if not self.line_info or position is None:
            return None
        if position == 0:
            return self.first_line
        width, form = ((1, "<B") if self.lines < 256 else
                       (2, "<H") if self.lines < 65536 else (4, "<I"))
        at = self.line_info + width * (position - 1)
        return self.first_line + LuaVarMemory.numbers(form, at)[0]

    def source(self):
        """The name of the chunk: lj_debug_shortname, but without shortening file names."""
        first, rest = self.chunk[:1], self.chunk[1:]
        if first in (b"@", b"="):
            return LuaVarMemory.printable(rest)
        line = self.chunk.split(b"\n")[0][:45]
        more = "..." if line != self.chunk else ""
        if self.first_line == -1:
            return "[builtin:%s%s]" % (LuaVarMemory.printable(line), more)
        return "[string \"%s%s\"]" % (LuaVarMemory.printable(line), more)

    def constant(self, index):
        return LuaVarObject.string(LuaVarMemory.u64(self.constants - 8 * (index + 1)))

    def upvalue(self, index):
        """The name of an upvalue: lj_debug_uvname."""
        at = self.upvalue_info
        if not at or index >= self.upvalues:
            return None
        for _ in range(index):
            at += len(LuaVarMemory.cstring(at)) + 1
        return LuaVarMemory.cstring(at)

    def variable(self, position, slot):
        """The name of the local variable in a slot: debug_varname."""
        at, start = self.variable_info, 0
        while at:
            kind = LuaVarMemory.read(at, 1)[0]
            if kind == 0:
                break
            name = (LuaVarMemory.cstring(at) if kind > len(self.HIDDEN)
                    else self.HIDDEN[kind - 1])
            at += len(name) + 1 if kind > len(self.HIDDEN) else 1
            delta, at = self.uleb128(at)
            start += delta
            if start > position:
                break
            delta, at = self.uleb128(at)
            if position < start + delta:
                if slot == 0:
                    return name
                slot -= 1
        return None

    @staticmethod
    def uleb128(at):
        value = shift = 0
        while True:
            byte = LuaVarMemory.read(at, 1)[0]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80 or shift > 28:
                return value, at

    def slot_name(self, position, slot):
        """The name by which the function in a slot was called: lj_debug_slotname."""
        name = self.variable(position, slot)
        if name is not None:
            return name
        for at in range(position - 1, 0, -1):
            ins = self.instruction(at)
            if ins.mode == "b":
                if slot >= ins.a and (ins.name != "KNIL" or slot <= ins.d):
                    return None
            elif ins.mode == "d" and ins.a == slot:
                if ins.name == "MOV":
                    return self.slot_name(at, ins.d)
                if ins.name == "GGET":
                    return self.constant(ins.d)
                if ins.name == "TGETS":
                    return self.constant(ins.c)
                if ins.name == "UGET":
                    return self.upvalue(ins.d)
                return None
        return None


class LuaVarFunction:
    """A Lua function or a C function: GCfunc."""

    def __init__(self, address):
        LuaVarObject.check(address, LuaVarObject.FUNCTION)
        self.address = address
        self.ffid = LuaVarMemory.read(address + 10, 1)[0]
        pc, self.c_function = LuaVarMemory.numbers("<2Q", address + 32)
        self.proto = LuaVarProto(pc - LuaVarProto.SIZE) if self.ffid == 0 else None

    def is_builtin(self):
        return self.ffid > 1


class LuaVarFrame:
    """A frame of the Lua stack.  Its address is that of the slot with its link (LJ_FR2)."""

    LUA, C, CONT, VARG = 0, 1, 2, 3

    def __init__(self, state, address):
        self.state = state
        self.address = address
        tagged, self.link = state.slots(address - 8, 2)
        tag = tagged >> 47
        self.object = tagged & (1 << 47) - 1
        if tag == 0x1ffff & ~6:
            LuaVarObject.check(self.object, LuaVarObject.THREAD)
            self.function = None
        elif tag == 0x1ffff & ~8:
            self.function = LuaVarFunction(self.object)
        else:
            raise LuaVarUnsure("a frame without a function")
        self.type = self.link & 3

    def is_continuation(self):
        return self.link & 7 == self.CONT

    def is_vararg(self):
        return self.link & 7 == self.VARG

    def is_dummy(self):
        """Whether it is the frame that lj_err_optype_call adds."""
        return self.object == self.state.address

    def previous(self):
        if self.type == self.LUA:
            # The call is the instruction before the one that the link returns to.
            if not 0x1000 <= self.link < 1 << 47:
                raise LuaVarUnsure("a frame without a return address")
            size = 8 * (2 + LuaVarBytecode(LuaVarMemory.u32(self.link - 4)).a)
        else:
            size = self.link & ~7
        if not 0 < size <= self.address - self.state.bottom:
            raise LuaVarUnsure("a frame that is larger than the stack")
        before = LuaVarFrame(self.state, self.address - size)
        if self.type == self.LUA and (before.function is None or before.function.proto is None or
                                      before.function.proto.position(self.link - 4) is None):
            raise LuaVarUnsure("a frame that returns to another function than the one below it")
        return before


class LuaVarCFrame:
    """The frame of LuaJIT's interpreter on the C stack."""

    # The offsets of its members (CFRAME_OFS_*).  On arm64 there are two layouts: since 2022,
    # and before.
    LAYOUTS = {
        "i386:x86-64": [dict(L=16, PC=24, PREV=32, NRES=8)],
        "aarch64": [dict(L=16, PC=8, PREV=0, NRES=40), dict(L=176, PC=168, PREV=160, NRES=200)],
    }
    # The registers in which the interpreter has BASE and PC.
    REGISTERS = {"i386:x86-64": ("rdx", "rbx"), "aarch64": ("x19", "x21")}

    def __init__(self, address, layout):
        self.address = address
        self.layout = layout

    def member(self, name):
        return LuaVarMemory.u64(self.address + self.layout[name])

    def pc(self):
        return self.member("PC")

    def results(self):
        """The number of results; if negative, an offset in the Lua stack, for a protected call."""
        return LuaVarMemory.numbers("<i", self.address + self.layout["NRES"])[0]

    def previous(self):
        address = self.member("PREV") & ~3
        if address and address <= self.address:
            raise LuaVarUnsure("the C stack is damaged")
        return LuaVarCFrame(address, self.layout) if address else None


class LuaVarCpu:
    """The registers and the C stack of the thread that is selected in gdb."""

    STACK = 16 << 20        # the most bytes of the C stack that are searched
    AT_ONCE = 1 << 16       # bytes that are read at a time

    def __init__(self):
        if not gdb.selected_inferior().threads() or gdb.selected_thread() is None:
            raise LuaVarError("there is no core dump and no process: gdb NGINX CORE")
        self.frame = gdb.newest_frame()
        self.architecture = self.frame.architecture().name()
        if self.architecture not in LuaVarCFrame.LAYOUTS:
            raise LuaVarError("lua-var bt does not know LuaJIT on %s" % self.architecture)
        self.layouts = LuaVarCFrame.LAYOUTS[self.architecture]
        self.sp = self.register("sp")

    def register(self, name):
        return int(self.frame.read_register(name)) & (1 << 64) - 1

    def interpreters(self):
        """Yields (LuaVarState, LuaVarCFrame) for each interpreter on the C stack, the innermost
        first.  A state and its frame are found because they point at each other."""
        refused = set()
        at = end = self.sp & ~7
        while end < self.sp + self.STACK:
            try:
                size = self.AT_ONCE - end % self.AT_ONCE
                data = LuaVarMemory.read(end, size)
            except LuaVarError:
                # A piece crosses the end of the stack, so the rest is read page by page.
                try:
                    size = 4096 - end % 4096
                    data = LuaVarMemory.read(end, size)
                except LuaVarError:
                    return
            end += size
            for (value,) in struct.iter_unpack("<Q", data):
                if LuaVarObject.is_address(value) and value not in refused:
                    frame = self.interpreter(at, value)
                    if frame:
                        yield LuaVarState(value), frame
                    elif frame is None:
                        refused.add(value)
                at += 8

    def interpreter(self, at, value):
        """The interpreter's frame, if the word at `at` is its L and has this value.  None if the
        value is not a lua_State, False if the state's frame has its L elsewhere."""
        try:
            if LuaVarMemory.read(value + 9, 1)[0] != LuaVarObject.THREAD:
                return None
            cframe = LuaVarMemory.u64(value + LuaVarState.CFRAME) & ~3
        except LuaVarError:
            return None
        for layout in self.layouts:
            if cframe == at - layout["L"]:
                return LuaVarCFrame(cframe, layout)
        return False


class LuaVarGlobal:
    """The state that all threads of a VM share: global_State."""

    # The meanings of a negative vmstate, from ~0 on.  One that is not negative is the number of
    # the trace that runs.
    STATES = ["the interpreter", "a C function", "the garbage collector", "the exit of a trace",
              "the trace recorder", "the optimizer", "the assembler"]

    def __init__(self, address):
        self.address = address
        self.words = struct.unpack("<96Q", LuaVarMemory.read(address, 768))
        # The main thread is directly before the global state (GG_State).  In OpenResty's
        # LuaJIT a thread has two more members.
        self.has_exdata = True
        self.main = address - 112
        if not self.is_main():
            self.has_exdata = False
            self.main = address - 96
        if not self.is_main():
            raise LuaVarUnsure("LuaJIT's global state was not found: this is not LuaJIT 2.1 "
                               "with GC64, or its memory is damaged")
        # The offsets of vmstate and cur_L differ between versions.  vmstate precedes the link
        # to the main thread; two instructions that call C functions precede cur_L.
        main = [n for n in range(16, 48) if self.words[n] == self.main and self.is_vmstate(n - 1)]
        current = [n for n in range(24, 95) if self.is_ccall(self.words[n])]
        if not main or len(current) != 1:
            raise LuaVarUnsure("LuaJIT's global state has another layout than in the versions "
                               "that are known")
        self.vmstate = struct.unpack("<i", struct.pack("<I", self.words[main[0] - 1]))[0]
        self.current = self.words[current[0] + 1]
        self.jit_base = self.words[current[0] + 2]

    def is_main(self):
        try:
            LuaVarObject.check(self.main, LuaVarObject.THREAD)
            return LuaVarMemory.u64(self.main + 16) == self.address
        except LuaVarError:
            return False

    def is_vmstate(self, n):
        value = self.words[n]
        return value < 1 << 16 or 1 << 32 > value >= (1 << 32) - len(self.STATES)

    @staticmethod
    def is_ccall(word):
        """Whether the word is bc_cfunc_int and bc_cfunc_ext: FUNCC or FUNCCW with LUA_MINSTACK
        slots."""
        return all(half >> 8 == 20 and LuaVarBytecode.NAMES[half & 0xff:][:1] in
                   (["FUNCC"], ["FUNCCW"]) for half in (word & 0xffffffff, word >> 32))

    def is_in_trace(self):
        return self.vmstate >= 0 or self.jit_base != 0

    def is_leaving_trace(self):
        return self.vmstate == ~3

    def trace(self):
        """The trace that runs; None if it cannot be found."""
        # jit_State follows the global state.  Its array of traces is recognised by a length
        # that fits, and by a trace with this number in it.
        if self.vmstate <= 0:
            return None
        words = struct.unpack("<1024Q", LuaVarMemory.read(self.address, 8192))
        for n in range(64, 1023):
            size = words[n + 1] >> 32
            if LuaVarObject.is_address(words[n]) and self.vmstate < size <= 1 << 16:
                try:
                    return LuaVarTrace(words[n], self.vmstate)
                except LuaVarError:
                    pass
        return None


class LuaVarTrace:
    """A trace, that is, compiled code: GCtrace."""

    def __init__(self, array, number):
        address = LuaVarMemory.u64(array + 8 * number)
        LuaVarObject.check(address, LuaVarObject.TRACE)
        self.number = LuaVarMemory.numbers("<H", address + 104)[0]
        self.root = LuaVarMemory.numbers("<H", address + 108)[0]
        if self.number != number:
            raise LuaVarUnsure("a trace with another number")
        proto, pc = LuaVarMemory.numbers("<2Q", address + 64)
        self.proto = LuaVarProto(proto)
        self.position = self.proto.position(pc)
        if self.position is None:
            raise LuaVarUnsure("a trace that does not start in a function")
        # A side trace was entered through its root trace.
        self.entry = LuaVarTrace(array, self.root) if self.root else self


class LuaVarState:
    """A Lua thread, which is a coroutine or the main thread: lua_State."""

    CFRAME = 80

    def __init__(self, address):
        LuaVarObject.check(address, LuaVarObject.THREAD)
        self.address = address
        (self.status, glref, self.base, self.top, stack, self.cframe, size) = struct.unpack(
            "<11x B 4x Q 8x Q Q 8x Q 16x Q I", LuaVarMemory.read(address, 92))
        self.cframe &= ~3
        if size > 1 << 20 or not LuaVarObject.is_address(stack):
            raise LuaVarUnsure("the lua_State at 0x%x is damaged" % address)
        self.glob = LuaVarGlobal(glref)
        self.stack = stack
        self.end = stack + 8 * size
        # The lowest frame belongs to no function (LJ_FR2).
        self.bottom = stack + 8
        if not self.bottom <= self.base - 8 <= self.end:
            raise LuaVarUnsure("the lua_State at 0x%x is damaged" % address)

    def slots(self, address, count):
        if address % 8 or not self.stack <= address <= self.end - 8 * count:
            raise LuaVarUnsure("a frame outside of the Lua stack")
        return LuaVarMemory.numbers("<%dQ" % count, address)

    def request(self):
        """The request that lua-nginx-module stored in the thread; 0 if there is none."""
        return LuaVarMemory.u64(self.address + 96) if self.glob.has_exdata else 0


class LuaVarTop:
    """The top of a stack: its highest frame, and the position in that frame."""

    def __init__(self, base, pc=0, line=None, note=None):
        self.base = base
        self.pc = pc            # behind the instruction that ran; 0 if unknown
        self.line = line        # the line to print, if it is not that of pc
        self.note = note        # a remark to print above the stack


class LuaVarStack:
    """The stack of a thread, printed in the form of debug.traceback."""

    LEVELS = 1000

    def __init__(self, state, top, cframe):
        self.state = state
        self.top = top
        self.cframe = cframe

    def lines(self):
        yield "stack traceback:"
        if self.top.note:
            yield "\t(%s)" % self.top.note
        count = 0
        try:
            for frame, above in self.frames():
                count += 1
                if count > self.LEVELS:
                    yield "\t(and so on)"
                    return
                yield "\t" + self.line(frame, above)
        except LuaVarError as error:
            yield "\t(the frames below are not known: %s)" % error

    def frames(self):
        """Yields the frames of functions, each with the frame above it: lj_debug_frame."""
        above, frame = None, LuaVarFrame(self.state, self.top.base - 8)
        while frame.address > self.state.bottom:
            if not frame.is_dummy():
                yield frame, above
            above = frame
            if frame.is_vararg():
                # The frame below belongs to the same function, and has its arguments.
                above = frame = frame.previous()
            frame = frame.previous()

    def position(self, frame, above):
        """The number of the instruction that a frame executes: debug_framepc."""
        proto = frame.function.proto if frame.function else None
        if proto is None:
            return None
        if above is None:
            pc = self.top.pc
        elif above.type == above.LUA:
            pc = above.link
        elif above.is_continuation():
            pc = self.state.slots(above.address - 16, 1)[0]
        else:
            pc = self.pc_at_call_from_c(above)
        return proto.position(pc - 4) if pc else None

    def pc_at_call_from_c(self, above):
        """The pc at which an error handler, a finalizer or a hook interrupted a Lua function."""
        cframe = self.cframe
        frame = LuaVarFrame(self.state, self.top.base - 8)
        while cframe:
            while cframe.results() < 0 and frame.address < self.state.stack - cframe.results():
                cframe = cframe.previous()
                if not cframe:
                    return 0
            if frame.address < above.address:
                return cframe.pc()
            if frame.type == frame.C or (frame.is_continuation() and
                                         self.state.slots(frame.address - 24, 1)[0] == 1):
                cframe = cframe.previous()
            frame = frame.previous()
        return 0

    def line(self, frame, above):
        """A line of the stack, as luaL_traceback writes it."""
        function = frame.function
        name = self.name(frame)
        if function is None:
            return "[a thread]"
        proto = function.proto
        if proto is None:
            where = ("[builtin#%d]:" % function.ffid if function.is_builtin() and name is None
                     else "[C]:")
        else:
            line = (self.top.line if above is None and self.top.line is not None
                    else proto.line(self.position(frame, above)))
            where = proto.source() + ":" + ("%d:" % line if line is not None and line > 0 else "")
        if name is not None:
            return "%s in function '%s'" % (where, LuaVarMemory.printable(name))
        if proto is None:
            return "%s at 0x%x" % (where, function.c_function)
        if proto.first_line == 0 and proto.lines > 0:
            return "%s in main chunk" % where
        return "%s in function <%s:%d>" % (where, proto.source(), proto.first_line)

    def name(self, frame):
        """The name by which its caller called a function: lj_debug_funcname."""
        if frame.is_vararg():
            frame = frame.previous()
        caller = frame.previous()
        position = self.position(caller, frame)
        if position is None:
            return None
        ins = caller.function.proto.instruction(position)
        if ins.metamethod == "call":
            slot = ins.a - 3 if ins.name == "ITERC" else ins.a
            return caller.function.proto.slot_name(position, slot)
        if ins.metamethod != "-":
            return b"__" + ins.metamethod.encode()
        return None


class LuaVarBacktrace(LuaVarCommand):
    """Prints the Lua call stack of the thread that was running.

lua-var bt [LUA_STATE]

The stack has the form of debug.traceback, but file names are not shortened.  With the
address of a lua_State, prints the stack of that thread, which may be a coroutine that
waits.  What cannot be determined for certain is not printed."""

    NAME = "bt"

    def lines(self, arguments):
        cpu = LuaVarCpu()
        running = list(cpu.interpreters())
        if len(arguments) > 1:
            raise LuaVarError("lua-var bt [LUA_STATE]")
        if arguments:
            yield from self.of(cpu, running, int(gdb.parse_and_eval(arguments[0])))
            return
        if not running:
            yield from self.without_interpreter(cpu)
            return
        state = running[0][0]
        if state.glob.current != state.address:
            raise LuaVarUnsure("LuaJIT was switching between threads: its global state names "
                               "0x%x as the current one, its C stack 0x%x"
                               % (state.glob.current, state.address))
        # There are several if a coroutine was resumed without lua-nginx-module's scheduler.
        shown = []
        for state, cframe in running:
            if state.address not in shown:
                if shown:
                    yield "which was resumed or called by"
                yield from self.thread(cpu, state, cframe, not shown)
                shown.append(state.address)

    def of(self, cpu, running, address):
        """The stack of the thread at this address."""
        for n, (state, cframe) in enumerate(running):
            if state.address == address:
                return self.thread(cpu, state, cframe, n == 0)
        try:
            state = LuaVarState(address)
        except LuaVarError as error:
            raise LuaVarError("0x%x is not a lua_State: %s" % (address, error)) from None
        if state.cframe:
            raise LuaVarUnsure("0x%x runs, but not on the C stack of this thread" % address)
        return self.thread(cpu, state, None, False)

    def without_interpreter(self, cpu):
        """The stack if no interpreter is on the C stack: either no Lua was running, or the C
        stack is not in the core dump."""
        state = None
        try:
            conf = LuaVarModule.find().lua_main_conf()
            # lmcf->lua is the first member in all versions.
            main = LuaVarMemory.u64(conf) if conf else 0
            state = LuaVarState(LuaVarState(main).glob.current) if main else None
        except LuaVarError as error:
            raise LuaVarError("no Lua is on the C stack of this thread, and it is not certain "
                              "that all of the C stack was found: %s" % error) from None
        if state is None or not state.cframe:
            yield "no Lua was running"
            return
        if state.glob.is_in_trace() or state.glob.vmstate != ~1:
            raise LuaVarUnsure("the C stack is not in the core dump, and LuaJIT was not in a C "
                               "function: the newest Lua frames are lost with it")
        yield from self.thread(cpu, state, None, True)

    def thread(self, cpu, state, cframe, is_innermost):
        yield "lua_State 0x%x%s" % (state.address, self.serving(state))
        top = self.top(cpu, state, cframe, is_innermost)
        yield from LuaVarStack(state, top, cframe).lines()

    def serving(self, state):
        """The request that a thread serves, if it is live according to the registry."""
        if state.address == state.glob.main:
            return ", the main thread"
        request = state.request()
        if not request:
            return ""
        try:
            slot = LuaVarRegistry(LuaVarModule.find()).at(request)
            return ", for " + slot.name() if slot else ""
        except LuaVarError:
            return ""

    def top(self, cpu, state, cframe, is_innermost):
        """The top of the stack, which depends on what was running."""
        glob = state.glob
        if not is_innermost:
            return LuaVarTop(state.base, cframe.pc() if cframe else 0)
        if glob.is_leaving_trace():
            raise LuaVarUnsure("LuaJIT was leaving compiled code: its frames were not written yet")
        if glob.is_in_trace():
            return self.top_of_trace(glob)
        if glob.vmstate == ~0:
            return self.top_of_interpreter(cpu, state, cframe)
        return LuaVarTop(state.base, cframe.pc() if cframe else 0)

    def top_of_trace(self, glob):
        trace = glob.trace()
        what, line = "compiled code was running", None
        if trace:
            what = "compiled code was running, trace %u, which starts at %s:%s in function <%s:%d>" % (
                trace.number, trace.proto.source(), trace.proto.line(trace.position),
                trace.proto.source(), trace.proto.first_line)
            line = trace.entry.proto.line(trace.entry.position)
        if not glob.jit_base:
            raise LuaVarUnsure(what + "; the address of its frames is not known")
        return LuaVarTop(glob.jit_base, 0, line, what + "; it writes no frames, so that this "
                         "is the stack at its entry")

    def top_of_interpreter(self, cpu, state, cframe):
        """The top if the interpreter was running.  It has its base and program counter in
        registers, and writes them to memory only before it calls what may need them."""
        if cframe and cframe.address == cpu.sp:
            base, pc = (cpu.register(name) for name in LuaVarCFrame.REGISTERS[cpu.architecture])
        else:
            base, pc = state.base, cframe.pc() if cframe else 0
        frame = LuaVarFrame(state, base - 8)
        if frame.function and frame.function.proto:
            is_sure = frame.function.proto.position(pc - 4) is not None
        else:
            # In a builtin, PC is the address that it returns to.
            is_sure = pc == frame.link
        if not is_sure:
            raise LuaVarUnsure("the interpreter was running, and its newest frame is not known")
        return LuaVarTop(base, pc)


LuaVarBacktrace()
