# lua-var bt: the Lua call stack in a core dump, without debug information for LuaJIT.
# lua_var.py has to be sourced first.
#
# It supports LuaJIT 2.1 with 64-bit references (LJ_GC64) on x86-64 and arm64, from 2020 to
# August 2026.  The layout of LuaJIT's structures is verified: each object must have the
# expected type, and what surrounds a value must fit.  Names in the comments are from LuaJIT's
# sources (lj_obj.h, lj_frame.h, lj_debug.c, lj_bc.h).

import gdb
import struct


class LuaVarBytecode:
    """An instruction, decoded as far as it shows how a function was called."""

    # The instructions in the order of their opcodes (BCDEF): name, use of operand A (d:
    # destination, b: base of a call, -: anything else), and metamethod.
    FIRST = """
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
    LOOP - - ILOOP - - JLOOP - - JMP - -"""
    BIT_OPERATORS = " BNOT d - BAND d - BOR d - BXOR d - BSHL d - BSHR d - BSAR d -"
    HEADERS = " FUNCF - - IFUNCF - - JFUNCF - - FUNCV - - IFUNCV - - JFUNCV - - FUNCC - -"
    # LuaJIT has the bit operators since July 2026.
    TABLES = [table.split() for table in (FIRST + HEADERS, FIRST + BIT_OPERATORS + HEADERS)]

    @classmethod
    def table(cls, funcc):
        """The instructions of the LuaJIT in which FUNCC has this opcode."""
        for table in cls.TABLES:
            if len(table) == 3 * (funcc + 1):
                return list(zip(table[0::3], table[1::3], table[2::3]))
        raise LuaVarError("this LuaJIT has other instructions than the versions that are known: "
                          "the opcode of FUNCC is %u" % funcc)

    def __init__(self, word, table):
        op, self.a, self.c = word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff
        self.d = word >> 16
        if op >= len(table):
            raise LuaVarError("an instruction that LuaJIT 2.1 does not have")
        self.name, self.mode, self.metamethod = table[op]


class LuaVarObject:
    """An object that LuaJIT's garbage collector manages: GChead."""

    STRING, THREAD, PROTO, FUNCTION, TRACE = 4, 6, 7, 8, 9

    @staticmethod
    def is_address(address):
        return 0x1000 <= address < 1 << 47 and address % 8 == 0

    @classmethod
    def check(cls, address, expected):
        """Raises an error unless the address is that of an object of this type."""
        if not cls.is_address(address):
            raise LuaVarError("0x%x is not the address of an object" % address)
        if LuaVarMemory.read(address + 9, 1)[0] != expected:
            raise LuaVarError("the object at 0x%x has another type than expected" % address)

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

    def __init__(self, address, table):
        LuaVarObject.check(address, LuaVarObject.PROTO)
        self.table = table
        self.code = address + self.SIZE
        (self.size, self.constants, self.upvalues, chunk, self.first_line, self.lines,
         self.line_info, self.upvalue_info, self.variable_info) = struct.unpack(
             "<12x I 16x Q 20x B 3x Q i i Q Q Q", LuaVarMemory.read(address, self.SIZE))
        if not 0 < self.size < 1 << 26:
            raise LuaVarError("a function of %u instructions" % self.size)
        if not self.instruction(0).name.endswith(("FUNCF", "FUNCV")):
            raise LuaVarError("a function that begins with another instruction than FUNCF or "
                              "FUNCV: this LuaJIT is not known, or its memory is damaged")
        self.chunk = LuaVarObject.string(chunk)

    def position(self, pc):
        """The number of the instruction at pc; None if it is not in this function."""
        at, rest = divmod(pc - self.code, 4)
        return at if 0 <= at < self.size and rest == 0 else None

    def instruction(self, position):
        return LuaVarBytecode(LuaVarMemory.u32(self.code + 4 * position), self.table)

    def line(self, position):
        """The line of an instruction: lj_debug_line."""
        if not self.line_info or position is None:
            return None
        if position == 0:
            return self.first_line
        form = "<B" if self.lines < 256 else "<H" if self.lines < 65536 else "<I"
        at = self.line_info + struct.calcsize(form) * (position - 1)
        return self.first_line + LuaVarMemory.numbers(form, at)[0]

    def source(self):
        """The name of the chunk: lj_debug_shortname, but without shortening file names."""
        if self.chunk[:1] in (b"@", b"="):
            return LuaVarMemory.printable(self.chunk[1:])
        line = self.chunk.split(b"\n")[0][:45]
        return ("[builtin:%s%s]" if self.first_line == -1 else "[string \"%s%s\"]") % (
            LuaVarMemory.printable(line), "..." if line != self.chunk else "")

    def definition(self):
        return "function <%s:%d>" % (self.source(), self.first_line)

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
            is_hidden = kind <= len(self.HIDDEN)
            name = self.HIDDEN[kind - 1] if is_hidden else LuaVarMemory.cstring(at)
            delta, at = self.uleb128(at + (1 if is_hidden else len(name) + 1))
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
        """A number of variable length, and the address behind it."""
        value = 0
        for n, byte in enumerate(LuaVarMemory.read(at, 5)):
            value |= (byte & 0x7f) << 7 * n
            if byte < 0x80:
                break
        return value, at + n + 1

    def slot_name(self, position, slot):
        """The name by which the function in a slot was called: lj_debug_slotname."""
        name = self.variable(position, slot)
        if name is not None:
            return name
        for at in range(position - 1, 0, -1):
            ins = self.instruction(at)
            if ins.mode == "b" and slot >= ins.a and (ins.name != "KNIL" or slot <= ins.d):
                return None
            if ins.mode == "d" and ins.a == slot:
                return (self.slot_name(at, ins.d) if ins.name == "MOV" else
                        self.constant(ins.d) if ins.name == "GGET" else
                        self.constant(ins.c) if ins.name == "TGETS" else
                        self.upvalue(ins.d) if ins.name == "UGET" else None)
        return None


class LuaVarFrame:
    """A frame of the Lua stack.  Its address is that of the slot with its link (LJ_FR2)."""

    LUA, C, CONT, VARG = 0, 1, 2, 3

    def __init__(self, state, address):
        self.state = state
        self.address = address
        tagged, self.link = state.slots(address - 8, 2)
        self.type = self.link & 3
        self.is_continuation = self.link & 7 == self.CONT
        self.is_vararg = self.link & 7 == self.VARG
        # The tag is the inverted type of an object.
        kind, self.object = tagged >> 47 ^ 0x1ffff, tagged & (1 << 47) - 1
        if kind not in (LuaVarObject.FUNCTION, LuaVarObject.THREAD):
            raise LuaVarError("a frame without a function")
        LuaVarObject.check(self.object, kind)
        self.is_function = kind == LuaVarObject.FUNCTION
        # the frame that lj_err_optype_call adds
        self.is_dummy = self.object == state.address
        self.proto = None
        if self.is_function:
            # GCfunc.  Its ffid is 0 for Lua, 1 for C, and above for a builtin.
            self.ffid = LuaVarMemory.read(self.object + 10, 1)[0]
            pc, self.c_function = LuaVarMemory.numbers("<2Q", self.object + 32)
            if self.ffid == 0:
                self.proto = LuaVarProto(pc - LuaVarProto.SIZE, state.glob.table)

    def previous(self):
        size, call = self.link & ~7, None
        if self.type == self.LUA:
            # The call is the instruction before the one that the link returns to.
            if not 0x1000 <= self.link < 1 << 47:
                raise LuaVarError("a frame without a return address")
            call = LuaVarBytecode(LuaVarMemory.u32(self.link - 4), self.state.glob.table)
            size = 8 * (2 + call.a)
        if not 0 < size <= self.address - self.state.bottom:
            raise LuaVarError("a frame that is larger than the stack")
        before = LuaVarFrame(self.state, self.address - size)
        if call and (not before.proto or before.proto.position(self.link - 4) is None):
            raise LuaVarError("a frame that returns to another function than the one below it")
        if call and call.metamethod != "call":
            raise LuaVarError("a frame that returns to where no function is called")
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

    def pc(self):
        return LuaVarMemory.u64(self.address + self.layout["PC"])

    def results(self):
        """The number of results; if negative, an offset in the Lua stack, for a protected call."""
        return LuaVarMemory.numbers("<i", self.address + self.layout["NRES"])[0]

    def previous(self):
        address = LuaVarMemory.u64(self.address + self.layout["PREV"]) & ~3
        if address and address <= self.address:
            raise LuaVarError("the C stack is damaged")
        return LuaVarCFrame(address, self.layout) if address else None


class LuaVarCpu:
    """The registers and the C stack of the thread that is selected in gdb."""

    STACK = 16 << 20        # the most bytes of the C stack that are searched
    PAGE = 4096

    def __init__(self):
        if not gdb.selected_inferior().threads() or gdb.selected_thread() is None:
            raise LuaVarError("there is no core dump and no process: gdb NGINX CORE")
        self.frame = gdb.newest_frame()
        self.architecture = self.frame.architecture().name()
        if self.architecture not in LuaVarCFrame.LAYOUTS:
            raise LuaVarError("lua-var bt does not know LuaJIT on %s" % self.architecture)
        self.sp = self.register("sp")

    def register(self, name):
        return int(self.frame.read_register(name)) & (1 << 64) - 1

    def interpreters(self):
        """Yields (LuaVarState, LuaVarCFrame) for each interpreter on the C stack, the innermost
        first.  A state and its frame are found because they point at each other."""
        strangers = set()
        at = self.sp & ~7
        while at < self.sp + self.STACK:
            try:
                page = LuaVarMemory.read(at, self.PAGE - at % self.PAGE)
            except LuaVarError:
                return
            for (value,) in struct.iter_unpack("<Q", page):
                if LuaVarObject.is_address(value) and value not in strangers:
                    try:
                        LuaVarObject.check(value, LuaVarObject.THREAD)
                        cframe = LuaVarMemory.u64(value + LuaVarState.CFRAME) & ~3
                    except LuaVarError:
                        strangers.add(value)
                        cframe = 0
                    for layout in LuaVarCFrame.LAYOUTS[self.architecture]:
                        if cframe == at - layout["L"]:
                            yield LuaVarState(value), LuaVarCFrame(cframe, layout)
                at += 8


class LuaVarGlobal:
    """The state that all threads of a VM share: global_State."""

    # The meanings of a negative vmstate.  One that is not negative is the number of the trace
    # that runs.  The garbage collector, the trace recorder and others follow down to ~6.
    INTERPRETER, C_FUNCTION, TRACE_EXIT, LAST = ~0, ~1, ~3, ~6

    def __init__(self, address):
        self.address = address
        # The main thread is directly before the global state (GG_State).  In OpenResty's
        # LuaJIT a thread has two more members.
        self.has_exdata = self.is_main(address - 112)
        self.main = address - (112 if self.has_exdata else 96)
        if not self.is_main(self.main):
            raise LuaVarError("LuaJIT's global state was not found: this is not LuaJIT 2.1 "
                              "with GC64, or its memory is damaged")
        words = LuaVarMemory.numbers("<96Q", address)
        # The offsets of vmstate and cur_L differ between versions.  vmstate precedes the link
        # to the main thread.  cur_L follows bc_cfunc_int and bc_cfunc_ext, which are FUNCC, or
        # the latter FUNCCW, with LUA_MINSTACK slots.
        states = [words[n - 1] for n in range(16, 48) if words[n] == self.main]
        states = [state - (1 << 32) if state >> 31 == 1 else state for state in states]
        states = [state for state in states if self.LAST <= state < 1 << 16]
        calls = [n for n in range(24, 94) if (words[n] & 0xffffff00) == 20 << 8 and
                 (words[n] >> 32) - (words[n] & 0xffffffff) in (0, 1)]
        if not states or len(calls) != 1:
            raise LuaVarError("LuaJIT's global state has another layout than in the versions "
                              "that are known")
        self.vmstate = states[0]
        self.table = LuaVarBytecode.table(words[calls[0]] & 0xff)
        self.current, self.jit_base = words[calls[0] + 1:calls[0] + 3]

    def is_main(self, thread):
        try:
            LuaVarObject.check(thread, LuaVarObject.THREAD)
            return LuaVarMemory.u64(thread + 16) == self.address
        except LuaVarError:
            return False

    def is_in_trace(self):
        return self.vmstate >= 0 or self.jit_base != 0

    def trace(self):
        """The trace that runs; None if it cannot be found."""
        # jit_State follows the global state.  Its array of traces is recognised by a length
        # that fits, and by a trace with this number in it.
        if self.vmstate <= 0:
            return None
        words = LuaVarMemory.numbers("<1024Q", self.address)
        for n in range(64, 1023):
            if LuaVarObject.is_address(words[n]) and self.vmstate < words[n + 1] >> 32 <= 1 << 16:
                try:
                    return LuaVarTrace(words[n], self.vmstate, self.table)
                except LuaVarError:
                    pass
        return None


class LuaVarTrace:
    """A trace, that is, compiled code: GCtrace."""

    def __init__(self, array, number, table):
        address = LuaVarMemory.u64(array + 8 * number)
        LuaVarObject.check(address, LuaVarObject.TRACE)
        proto, pc = LuaVarMemory.numbers("<2Q", address + 64)
        found, root = LuaVarMemory.numbers("<H2xH", address + 104)
        if found != number:
            raise LuaVarError("a trace with another number")
        self.proto = LuaVarProto(proto, table)
        position = self.proto.position(pc)
        if position is None:
            raise LuaVarError("a trace that does not start in a function")
        self.line = self.proto.line(position)
        # A side trace was entered through its root trace.
        self.entry = LuaVarTrace(array, root, table).line if root else self.line


class LuaVarState:
    """A Lua thread, which is a coroutine or the main thread: lua_State."""

    CFRAME = 80

    def __init__(self, address):
        LuaVarObject.check(address, LuaVarObject.THREAD)
        self.address = address
        glref, self.base, self.stack, cframe, size = LuaVarMemory.numbers(
            "<16x Q 8x Q 16x Q 16x Q I", address)
        self.cframe = cframe & ~3
        self.end = self.stack + 8 * size
        # The lowest frame belongs to no function (LJ_FR2).
        self.bottom = self.stack + 8
        if (size > 1 << 20 or not LuaVarObject.is_address(self.stack)
                or not self.bottom <= self.base - 8 <= self.end):
            raise LuaVarError("the lua_State at 0x%x is damaged" % address)
        self.glob = LuaVarGlobal(glref)

    def slots(self, address, count):
        if address % 8 or not self.stack <= address <= self.end - 8 * count:
            raise LuaVarError("a frame outside of the Lua stack")
        return LuaVarMemory.numbers("<%dQ" % count, address)

    def name(self):
        """Its address, and the request that it serves, if that is live."""
        name = "lua_State 0x%x" % self.address
        if self.address == self.glob.main:
            return name + ", the main thread"
        try:
            # lua-nginx-module stores the request in the thread.
            request = LuaVarMemory.u64(self.address + 96) if self.glob.has_exdata else 0
            slot = LuaVarRegistry(LuaVarModule.find()).at(request) if request else None
            return name + (", for " + slot.name() if slot else "")
        except LuaVarError:
            return name


class LuaVarStack:
    """The stack of a thread, printed in the form of debug.traceback."""

    LEVELS = 1000

    def __init__(self, state, cframe, base, pc, line=None, note=None):
        self.state = state
        self.cframe = cframe
        self.base = base        # of the highest frame
        self.pc = pc            # behind the instruction that ran; 0 if unknown
        self.line = line        # the line to print, if it is not that of pc
        self.note = note        # a remark to print above the stack

    def lines(self):
        yield "stack traceback:"
        if self.note:
            yield "\t(%s)" % self.note
        try:
            for count, (frame, above) in enumerate(self.frames()):
                if count == self.LEVELS:
                    yield "\t(and so on)"
                    return
                yield "\t" + self.frame_line(frame, above)
        except LuaVarError as error:
            yield "\t(the frames below are not known: %s)" % error

    def frames(self):
        """Yields the frames of functions, each with the frame above it: lj_debug_frame."""
        above, frame = None, LuaVarFrame(self.state, self.base - 8)
        while frame.address > self.state.bottom:
            if not frame.is_dummy:
                yield frame, above
            above = frame
            if frame.is_vararg:
                # The frame below belongs to the same function, and has its arguments.
                above = frame = frame.previous()
            frame = frame.previous()

    def position(self, frame, above):
        """The number of the instruction that a frame executes: debug_framepc."""
        if frame.proto is None:
            return None
        pc = (self.pc if above is None else
              above.link if above.type == above.LUA else
              self.state.slots(above.address - 16, 1)[0] if above.is_continuation else
              self.pc_at_call_from_c(above))
        return frame.proto.position(pc - 4) if pc else None

    def pc_at_call_from_c(self, above):
        """The pc at which an error handler, a finalizer or a hook interrupted a Lua function."""
        cframe = self.cframe
        frame = LuaVarFrame(self.state, self.base - 8)
        while cframe:
            if cframe.results() < 0 and frame.address < self.state.stack - cframe.results():
                cframe = cframe.previous()
                continue
            if frame.address < above.address:
                return cframe.pc()
            if frame.type == frame.C or (frame.is_continuation and
                                         self.state.slots(frame.address - 24, 1)[0] == 1):
                cframe = cframe.previous()
            frame = frame.previous()
        return 0

    def frame_line(self, frame, above):
        """A line of the stack, as luaL_traceback writes it."""
        proto, name = frame.proto, self.name(frame)
        if not frame.is_function:
            return "[a thread]"
        where = "[C]:"
        if proto:
            line = (self.line if above is None and self.line is not None
                    else proto.line(self.position(frame, above)))
            where = "%s:%s" % (proto.source(), "%d:" % line if line and line > 0 else "")
        elif frame.ffid > 1 and name is None:
            where = "[builtin#%d]:" % frame.ffid
        return where + (" in function '%s'" % LuaVarMemory.printable(name) if name is not None else
                        " at 0x%x" % frame.c_function if proto is None else
                        " in main chunk" if proto.first_line == 0 and proto.lines > 0 else
                        " in " + proto.definition())

    def name(self, frame):
        """The name by which its caller called a function: lj_debug_funcname."""
        if frame.is_vararg:
            frame = frame.previous()
        caller = frame.previous()
        position = self.position(caller, frame)
        if position is None:
            return None
        ins = caller.proto.instruction(position)
        if ins.metamethod == "call":
            return caller.proto.slot_name(position, ins.a - 3 if ins.name == "ITERC" else ins.a)
        return b"__" + ins.metamethod.encode() if ins.metamethod != "-" else None


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
            raise LuaVarError("LuaJIT was switching between threads: its global state names "
                              "0x%x as the current one, its C stack 0x%x"
                              % (state.glob.current, state.address))
        # There are several if a coroutine was resumed without lua-nginx-module's scheduler, and
        # in a finalizer, which has a thread of its own since November 2025.
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
            raise LuaVarError("0x%x runs, but not on the C stack of this thread" % address)
        return self.thread(cpu, state, None, False)

    def without_interpreter(self, cpu):
        """The stack if no interpreter is on the C stack: either no Lua was running, or the C
        stack is not in the core dump."""
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
        if state.glob.is_in_trace() or state.glob.vmstate != LuaVarGlobal.C_FUNCTION:
            raise LuaVarError("the C stack is not in the core dump, and LuaJIT was not in a C "
                              "function: the newest Lua frames are lost with it")
        yield from self.thread(cpu, state, None, True)

    def thread(self, cpu, state, cframe, is_innermost):
        yield state.name()
        yield from self.stack(cpu, state, cframe, is_innermost).lines()

    def stack(self, cpu, state, cframe, is_innermost):
        """The stack of a thread.  Where its top is depends on what was running."""
        base, pc = state.base, cframe.pc() if cframe else 0
        glob = state.glob
        if is_innermost:
            if glob.vmstate == LuaVarGlobal.TRACE_EXIT:
                raise LuaVarError("LuaJIT was leaving compiled code: its frames were not written "
                                  "yet")
            if glob.is_in_trace():
                return self.stack_of_trace(state, cframe)
            if glob.vmstate == LuaVarGlobal.INTERPRETER:
                base, pc = self.top_of_interpreter(cpu, state, cframe, base, pc)
        return LuaVarStack(state, cframe, base, pc)

    def stack_of_trace(self, state, cframe):
        trace, what = state.glob.trace(), "compiled code was running"
        if trace:
            what += ", trace %u, which starts at %s:%s in %s" % (
                state.glob.vmstate, trace.proto.source(), trace.line, trace.proto.definition())
        if not state.glob.jit_base:
            raise LuaVarError(what + "; the address of its frames is not known")
        return LuaVarStack(state, cframe, state.glob.jit_base, 0, trace and trace.entry, what +
                           "; it writes no frames, so that this is the stack at its entry")

    def top_of_interpreter(self, cpu, state, cframe, base, pc):
        """The top if the interpreter was running.  It has its base and program counter in
        registers, and writes them to memory only before it calls what may need them."""
        if cframe and cframe.address == cpu.sp:
            base, pc = (cpu.register(name) for name in LuaVarCFrame.REGISTERS[cpu.architecture])
        frame = LuaVarFrame(state, base - 8)
        # In a builtin, PC is the address that it returns to.
        is_sure = (frame.proto.position(pc - 4) is not None if frame.proto else pc == frame.link)
        if not is_sure:
            raise LuaVarError("the interpreter was running, and its newest frame is not known")
        return base, pc


LuaVarBacktrace()
