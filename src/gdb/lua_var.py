# gdb commands for ngx_http_lua_var_module, which show the state of a worker from its core
# dump or from the process.  This file and lua_stack.py are embedded in the module, from which
# gdb loads them.  They can also be loaded from here, in this order:
#
#     (gdb) source src/gdb/lua_var.py
#     (gdb) source src/gdb/lua_stack.py
#
# No debug information is needed: src/debugger.rs has the addresses and offsets.
#
# gdb runs all scripts in one namespace, so every name here begins with LuaVar.

import gdb
import re
import struct
import time


class LuaVarError(gdb.GdbError):
    """An error of a command.  gdb prints it without a traceback."""


class LuaVarMemory:
    """The memory of the process or of the core dump."""

    @staticmethod
    def read(address, size):
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except (gdb.error, OverflowError, ValueError):
            raise LuaVarError("there is no memory at 0x%x: the core dump is damaged or "
                              "incomplete" % address) from None

    @staticmethod
    def numbers(form, address):
        return struct.unpack(form, LuaVarMemory.read(address, struct.calcsize(form)))

    @staticmethod
    def u32(address):
        return LuaVarMemory.numbers("<I", address)[0]

    @staticmethod
    def u64(address):
        return LuaVarMemory.numbers("<Q", address)[0]

    @staticmethod
    def cstring(address, limit=256):
        """The bytes up to a zero.  They are read in pieces that do not cross a page, because
        memory may end behind the string."""
        text = b""
        while len(text) < limit and b"\0" not in text:
            at = address + len(text)
            text += LuaVarMemory.read(at, 16 - at % 16)
        return text.split(b"\0")[0][:limit]

    @staticmethod
    def printable(data):
        """A text from Lua or a client, escaped as in nginx's access log."""
        return "".join(chr(b) if 0x20 <= b < 0x7f and b not in b"\"\\" else "\\x%02X" % b
                       for b in data)


class LuaVarModule:
    """The module's DebugInfo (src/debugger.rs): the members below, texts, and more members by
    name."""

    SYMBOL = "ngx_http_lua_var_debug"
    MAGIC = b"lua_var debug "
    VERSION = b"4\0"
    SCRIPTS = b"\4lua_var.py\n"
    HEAD = struct.Struct("<2Q16s3Q")

    def __init__(self, address):
        (own, self.module, magic, self.scripts, reasons, facts) = self.HEAD.unpack(
            LuaVarMemory.read(address, self.HEAD.size))
        self.has_version = magic == self.MAGIC + self.VERSION
        self.is_own = magic.startswith(self.MAGIC) and own == address and self.has_its_file()
        if self.is_own and self.has_version:
            if reasons > 64 or facts > 1024:
                raise LuaVarError("what the module says of itself is damaged")
            data = LuaVarMemory.read(address + self.HEAD.size, 24 * (reasons + facts))
            facts = [(LuaVarMemory.read(text, min(length, 256)).decode("ascii", "replace"), value)
                     for text, length, value in struct.iter_unpack("<3Q", data)]
            # The messages that Lua gets for refusals.
            self.reasons = [text for text, _ in facts[:reasons]]
            vars(self).update(facts[reasons:])

    def has_its_file(self):
        """Whether gdb reads the file of this build.  The scripts are in the file, but not in a
        core dump.  In the file of another build they are at another address."""
        try:
            return LuaVarMemory.read(self.scripts, len(self.SCRIPTS)) == self.SCRIPTS
        except LuaVarError:
            return False

    @classmethod
    def find(cls):
        """The module that was running."""
        found, why = [], None
        for address in cls.addresses():
            try:
                found.append(cls(address))
            except LuaVarError as error:
                why = error
        found = [module for module in found if module.is_own]
        if not found:
            raise why or LuaVarError(
                "this is another build: the file of the module that gdb reads is not the one "
                "that was running, or the core dump is damaged")
        # After a reload that loaded the module from another file, both are mapped.
        running = [module for module in found if module.is_running()] or found
        if len(running) > 1:
            raise LuaVarError("there are several copies of the module, and it is not certain "
                              "which of them was running")
        if not running[0].has_version:
            raise LuaVarError("these commands are for another version of the module: use the "
                              "files in src/gdb of the version that was running")
        return running[0]

    @classmethod
    def addresses(cls):
        """The address of the symbol in each file that has it."""
        if not gdb.selected_inferior().threads():
            raise LuaVarError("there is no core dump and no process: gdb NGINX CORE")
        listed = gdb.execute("info variables -q ^%s$" % cls.SYMBOL, to_string=True)
        found = [int(at, 16) for at in re.findall(r"(0x[0-9a-f]+) +%s\b" % cls.SYMBOL, listed)]
        if found:
            return found
        language = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)
        try:
            return [int(gdb.parse_and_eval("&%s" % cls.SYMBOL))]
        except gdb.error:
            raise LuaVarError("the module is not in this process, or gdb does not have the file "
                              "of this build: see `info sharedlibrary`") from None
        finally:
            gdb.execute("set language %s" % language, to_string=True)

    def modules(self):
        """Yields the addresses of nginx's modules (cycle->modules)."""
        at = LuaVarMemory.u64(LuaVarMemory.u64(self.cycle) + self.cycle_modules)
        for _ in range(4096):
            module = LuaVarMemory.u64(at)
            if module == 0:
                return
            yield module
            at += 8

    def is_running(self):
        """Whether the running configuration has the module."""
        try:
            return self.module in self.modules()
        except LuaVarError:
            return False

    def lua_main_conf(self):
        """The Lua module's main configuration; None if the module is not loaded."""
        for module in self.modules():
            name = LuaVarMemory.cstring(LuaVarMemory.u64(module + self.module_name))
            if name == b"ngx_http_lua_module":
                at = LuaVarMemory.u64(LuaVarMemory.u64(self.cycle) + self.cycle_conf_ctx)
                at += 8 * LuaVarMemory.u64(self.http_module + self.module_index)
                at = LuaVarMemory.u64(LuaVarMemory.u64(at) + self.conf_ctx_main_conf)
                return LuaVarMemory.u64(at + 8 * LuaVarMemory.u64(module + self.module_ctx_index))
        return None


class LuaVarRegistry:
    """The registry of live requests."""

    def __init__(self, module):
        self.module = module
        slots = module.registry + module.slots
        self.chunks = slots + module.slots_chunks
        self.used = LuaVarMemory.u32(slots + module.slots_used)
        self.live = LuaVarMemory.u32(slots + module.slots_live)
        if self.used > module.max_live or self.live > self.used:
            raise LuaVarError("the registry of requests is damaged: %u of %u slots live"
                              % (self.live, self.used))

    def slot(self, number):
        size = self.module.slot_size
        chunk = LuaVarMemory.u64(self.chunks + number // self.module.chunk * 8)
        place = chunk + number % self.module.chunk * size
        return LuaVarSlot(self.module, number, LuaVarMemory.read(place, size))

    def occupied(self):
        slots = (self.slot(number) for number in range(self.used))
        return (slot for slot in slots if slot.is_occupied())

    def at(self, address):
        """The slot of the live request at this address, or None."""
        return next((slot for slot in self.occupied() if slot.request == address), None)


class LuaVarSlot:
    """A slot, and the request in it."""

    MEMBERS = dict(generation="<I", connection="<Q", request="<Q", flags="<B", ctx_ref="<i",
                   ctx_vm="<I", ended="<I")

    def __init__(self, module, number, data):
        self.module = module
        self.number = number
        for name, form in self.MEMBERS.items():
            at = getattr(module, "slot_" + name)
            setattr(self, name, struct.unpack_from(form, data, at)[0])

    def is_occupied(self):
        return self.generation & 1 == 1

    def name(self):
        """A description of the request."""
        handle = "request: %u/%u at 0x%x" % (self.number, self.generation, self.request)
        return ", ".join([handle, *self.facts()])

    def facts(self):
        if LuaVarMemory.read(self.module.layout, 1)[0] == self.module.layout_differs:
            yield "its members are not known, because the module was built for another nginx"
        else:
            try:
                yield from self.members()
            except LuaVarError:
                yield "its memory is not in the core dump"
        vm = " of the Lua VM %u" % self.ctx_vm if self.ctx_vm else ""
        yield "ngx.ctx ref %d%s" % (self.ctx_ref, vm) if self.ctx_ref > 0 else "no ngx.ctx"

    def members(self):
        """Yields what is read from the request itself."""
        module, r = self.module, self.request
        signature = LuaVarMemory.u32(r + module.request_signature)
        connection, main = (LuaVarMemory.u64(r + at)
                            for at in (module.request_connection, module.request_main))
        if signature != module.http_signature or connection != self.connection:
            yield "its memory holds no request any more"
            return
        yield "*%u" % LuaVarMemory.u64(connection + module.connection_number)
        length, data = LuaVarMemory.numbers("<2Q", r + module.request_uri)
        uri = LuaVarMemory.read(data, min(length, 2048)) if length else b""
        yield "\"%s\"%s" % (LuaVarMemory.printable(uri), "..." if length > 2048 else "")
        if main != r:
            yield "subrequest of 0x%x" % main
        if self.flags & module.from_error_page:
            yield "came through error_page"


class LuaVarCommand(gdb.Command):
    """A command, which prints the lines that its lines() yields, or an error."""

    NAME = None

    def __init__(self):
        super().__init__("lua-var " + self.NAME, gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            for line in self.lines(argument.split()):
                print(line)
        except gdb.GdbError:
            raise
        except gdb.error as error:
            raise LuaVarError("lua-var %s: %s" % (self.NAME, error)) from None
        except Exception as error:
            raise LuaVarError("lua-var %s: what was read makes no sense, the core dump may be "
                              "damaged (%s: %s)"
                              % (self.NAME, type(error).__name__, error)) from None


class LuaVarRequests(LuaVarCommand):
    """Lists the live requests of the worker.

lua-var requests

For each it prints the handle, as tostring() in Lua returns it; the address; the number of
the connection, as in the error log; the URI; whether the request came through an
error_page; and the reference of its ngx.ctx."""

    NAME = "requests"

    def lines(self, arguments):
        if arguments:
            raise LuaVarError("lua-var requests takes no arguments")
        registry = LuaVarRegistry(LuaVarModule.find())
        yield "%u live request%s" % (registry.live, "" if registry.live == 1 else "s")
        for slot in registry.occupied():
            yield slot.name()


class LuaVarHandle(LuaVarCommand):
    """Shows the request that a handle names.

lua-var handle ID/GENERATION

The handle is written as tostring() in Lua returns it.  If its request has ended, the
command prints when, and which request is in the slot now."""

    NAME = "handle"

    def lines(self, arguments):
        match = re.fullmatch(r"(?:request: ?)?(\d+)/(\d+)", " ".join(arguments))
        if not match:
            raise LuaVarError("lua-var handle ID/GENERATION, as in: lua-var handle 17/3")
        number, generation = (int(text) for text in match.groups())
        module = LuaVarModule.find()
        registry = LuaVarRegistry(module)
        if number >= module.max_live or generation % 2 == 0 or generation >> 32:
            raise LuaVarError("no request ever has this handle: numbers end at %u, and a "
                              "generation is odd" % (module.max_live - 1))
        if number >= registry.used:
            yield "no request of this worker has had the handle %u/%u" % (number, generation)
            return
        slot = registry.slot(number)
        if slot.generation == generation:
            yield "live: " + slot.name()
        elif slot.generation == 0:
            yield "ended: the slot %u is not used any more, its generations ran out" % number
        elif slot.generation < generation:
            yield ("no request of this worker has had the handle %u/%u, the slot's generation "
                   "is %u" % (number, generation, slot.generation))
        else:
            yield from self.ended(slot, generation)

    def ended(self, slot, generation):
        """Yields when a request ended.  A slot stores the time at which its last occupant ended."""
        # Each occupant has an odd generation, and a free slot an even one.
        last = slot.generation if slot.is_occupied() else slot.generation - 1
        later = (last - generation) // 2
        ago = (LuaVarMemory.u32(slot.module.msec) - slot.ended) & 0xffffffff
        yield "ended %s%u.%03us ago; %s had the slot after it" % (
            "" if slot.generation - generation <= 2 else "more than ", ago // 1000, ago % 1000,
            "no request" if not later else "1 request" if later == 1 else "%u requests" % later)
        yield ("in the slot now: " + slot.name()) if slot.is_occupied() else "the slot is free"


class LuaVarRefusals(LuaVarCommand):
    """Lists which Lua was refused what, in all workers, the last one first.

lua-var refusals

For each it prints when it was refused last (UTC), how often, the line of Lua code, what it
asked for, the reason, what nginx was running, and an example."""

    NAME = "refusals"
    # Culprit in src/culprits/table.rs
    FORM = struct.Struct("<8Q80s48s64s32s40s128s")

    def lines(self, arguments):
        if arguments:
            raise LuaVarError("lua-var refusals takes no arguments")
        module = LuaVarModule.find()
        table = LuaVarMemory.u64(module.refusals)
        if not table or module.culprit_size != self.FORM.size:
            raise LuaVarError("the table of refusals is damaged")
        data = LuaVarMemory.read(table, module.culprits * module.culprit_size)
        found = [entry for entry in self.FORM.iter_unpack(data) if entry[1]]
        yield "refusals of %u culprits" % len(found) if found else "no refusals"
        for entry in sorted(found, key=lambda entry: -entry[4]):
            yield self.line(module, entry)

    def line(self, module, entry):
        hash_, _, reason, count, last, _, _, example, *texts = entry
        at, asked, variable, phase, request, request_line = (
            LuaVarMemory.printable(text.split(b"\0")[0]).replace("\\x5C", "\\") for text in texts)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(last // 1000))
        line = "%s.%03u %u times: " % (when, last % 1000, count)
        if not hash_:
            return line + "others, for which the table has no room"
        line += "%s %s%s (%s)" % (at, asked, " \"%s\"" % variable if variable else "",
                                  module.reasons[reason])
        facts = ["in " + phase if phase else "", request if example == 2 else "",
                 "while \"%s\" was running" % request_line
                 if example == 2 and request_line else ""]
        return ", ".join([line] + [fact for fact in facts if fact])


class LuaVarPrefix(gdb.Command):
    """Shows what ngx_http_lua_var_module and LuaJIT were doing in a worker of nginx."""

    def invoke(self, argument, from_tty):
        gdb.execute("help lua-var")


LuaVarPrefix("lua-var", gdb.COMMAND_DATA, prefix=True)
# lua_stack.py adds lua-var bt.
for LuaVarClass in (LuaVarRequests, LuaVarHandle, LuaVarRefusals):
    LuaVarClass()
