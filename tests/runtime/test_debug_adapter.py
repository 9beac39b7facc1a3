"""The debug adapter, as an editor talks to it; every message is held against the protocol's schema.

The schema is Microsoft's own, which debugpy carries.
"""

import json
import os
import threading
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import debugpy
import jsonschema
import pytest

from runtime import Program, RuntimeFailure
from runtime.debug_adapter import Adapter, Opened
from runtime.debug_commands import Console
from runtime.debugger import Debugger
from runtime.places import left
from tests.three_layers import inputs, three_layers

COMPILED = three_layers()
SCHEMA = "_vendored/pydevd/_pydevd_bundle/_debug_adapter/debugProtocol.json"


@lru_cache
def validator(name):
    """What validates a definition of the schema."""
    schema = json.loads((Path(debugpy.__file__).parent / SCHEMA).read_text("utf-8"))
    whole = {"$ref": f"#/definitions/{name}", "definitions": schema["definitions"]}
    return jsonschema.validators.validator_for(whole)(whole)


def checked(message):
    """A message that the schema allows, as what it says it is."""
    if message["type"] == "event":
        name = f"{message['event'][0].upper()}{message['event'][1:]}Event"
    elif not message["success"]:
        name = "ErrorResponse"
    else:
        name = f"{message['command'][0].upper()}{message['command'][1:]}Response"
    validator(name).validate(message)
    return message


class Editor:
    """Sends requests and reads what comes, in order."""

    def __init__(self, to, come):
        self.to, self.come, self.sequence = to, come, 0
        self.events = []

    def read(self):
        """The next message."""
        header = self.come.readline()
        assert self.come.readline() == b"\r\n"
        message = json.loads(self.come.read(int(header.split(b":")[1])))
        return checked(message)

    def ask(self, command, **arguments):
        """The response to a request; events before it are kept."""
        self.sequence += 1
        request = {"seq": self.sequence, "type": "request", "command": command}
        data = json.dumps({**request, "arguments": arguments}).encode()
        self.to.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self.to.flush()
        while (message := self.read())["type"] == "event":
            self.events.append(message)
        assert (message["request_seq"], message["command"]) == (self.sequence, command)
        return message

    def ok(self, command, **arguments):
        """The body of a response that says that it went well."""
        message = self.ask(command, **arguments)
        assert message["success"], message
        return message["body"]

    def until(self, event):
        """The body of an event, if it was not read yet."""
        while not (found := [e for e in self.events if e["event"] == event]):
            self.events.append(self.read())
        self.events.clear()
        return found[0]["body"]

    def stops(self, command, **arguments):
        """Where the program stops after a request."""
        self.ok(command, **arguments)
        return self.until("stopped")


@contextmanager
def served(engine="cycle", **chosen):
    """An editor and an adapter that talk over pipes."""

    def launch(arguments):
        if arguments.get("program") != "net.elf":
            raise RuntimeFailure("no such program")
        debugger = Debugger(Program(COMPILED.image, "net.elf", engine), inputs())
        console = Console(debugger, lambda number: (inputs(number), {}))
        return Opened(console, "net.s", arguments.get("source", ""), **chosen)

    there, to = os.pipe()
    come, back = os.pipe()
    with open(there, "rb") as read, open(back, "wb") as write, open(come, "rb") as answers:

        def say(data):
            write.write(data)
            write.flush()

        thread = threading.Thread(target=Adapter(read, say, launch).serve)
        thread.start()
        with open(to, "wb") as requests:
            editor = Editor(requests, answers)
            yield editor
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def launched(engine="cycle", **arguments):
    """An editor with a program that stands at its beginning."""
    with served(engine) as editor:
        editor.ok("initialize", adapterID="dmpc")
        editor.ok("launch", program="net.elf", **arguments)
        editor.until("initialized")
        yield editor


def start(editor):
    assert editor.stops("configurationDone")["reason"] == "entry"


def line_of(editor, pc):
    source = editor.ok("loadedSources")["sources"][0]
    text = editor.ok("source", sourceReference=source["sourceReference"])["content"].splitlines()
    (line,) = [n for n, line in enumerate(text, 1) if f"# {pc:04}:" in line]
    return source, line


def test_breakpoints_in_the_text_stop_there():
    lif = next(i.place[0] for i in left(COMPILED) if i.name == "layer2.spikes" and i.value)
    with launched() as editor:
        source, line = line_of(editor, lif)
        (told,) = editor.ok("setBreakpoints", source=source, breakpoints=[{"line": line}])[
            "breakpoints"
        ]
        assert (told["verified"], told["line"]) == (True, line)
        start(editor)
        stop = editor.stops("continue", threadId=1)
        assert (stop["reason"], stop["hitBreakpointIds"]) == ("breakpoint", [told["id"]])
        (frame,) = editor.ok("stackTrace", threadId=1)["stackFrames"]
        assert (frame["line"], frame["instructionPointerReference"]) == (line, str(lif))
        (past,) = editor.ok("setBreakpoints", source=source, breakpoints=[{"line": 9999}])[
            "breakpoints"
        ]
        assert past == {"verified": False, "message": "no instruction there or below"}
        editor.ok("continue", threadId=1)
        said = editor.until("output")["output"]
        run = COMPILED.engine.run(inputs()[None])
        assert f"ended in cycle {run.cycles[0]}: class " in said


def test_steps_and_what_is_shown():
    with launched() as editor:
        start(editor)
        names = [{"name": "timestep 3"}, {"name": "spike layer9 1"}]
        good, bad = editor.ok("setFunctionBreakpoints", breakpoints=names)["breakpoints"]
        assert good["verified"]
        assert "no neurons in a layer 'layer9'" in bad["message"]
        assert editor.stops("continue", threadId=1)["text"] == "timestep 3"
        assert editor.stops("next", threadId=1)["reason"] == "step"
        editor.stops("stepOut", threadId=1)
        scopes = {s["name"]: s for s in editor.ok("scopes", frameId=1)["scopes"]}
        assert set(scopes) == {"Position", "Values", "Registers", "Memories", "Queues"}

        def behind(number, **some):
            found = editor.ok("variables", variablesReference=number, **some)["variables"]
            return {variable["name"]: variable for variable in found}

        position = behind(scopes["Position"]["variablesReference"])
        assert position["timesteps taken"]["value"] == "4"
        spikes = behind(scopes["Values"]["variablesReference"])["layer1.spikes"]
        bits = [v["value"] for v in behind(spikes["variablesReference"]).values()]
        place = next(i.place for i in left(COMPILED) if i.name == "layer1.spikes" and i.value)
        seen = COMPILED.engine.run(inputs()[None], watched=[place]).seen[place][0]
        assert list(map(int, bits)) == seen[3].tolist()
        some = behind(spikes["variablesReference"], start=2, count=3)
        assert list(some) == ["[2]", "[3]", "[4]"]
        for scope in scopes.values():
            assert behind(scope["variablesReference"])
        memory = behind(scopes["Memories"]["variablesReference"])["spike"]
        assert len(behind(memory["variablesReference"])) == len(COMPILED.image.memories["spike"])
        element = editor.ok("evaluate", expression="layer1.spikes[2]", context="hover")
        assert element["result"] == bits[2]
        listed = editor.ok("evaluate", expression="list", context="repl")["result"]
        assert "=>" in listed
        targets = editor.ok("completions", text="break lay", column=10)["targets"]
        assert targets == [{"label": "layer", "start": 6, "length": 3}]
        assert "went on" in editor.ask("variables", variablesReference=9999)["message"]


def test_a_program_that_runs_can_be_paused_and_asked():
    with launched() as editor:
        start(editor)
        editor.ok("continue", threadId=1)
        assert editor.ok("threads")["threads"] == [{"id": 1, "name": "sequencer"}]
        editor.ok("setFunctionBreakpoints", breakpoints=[])  # it goes on behind that
        editor.until("terminated")
        assert (
            "the sample has ended"
            in editor.ask("evaluate", expression="s", context="repl")["message"]
        )
        assert editor.stops("restart")["reason"] == "entry"
        moved = editor.ok("evaluate", expression="step 2", context="repl")
        assert "=>" in moved["result"]
        assert editor.until("stopped")["reason"] == "step"


def test_what_saturates_is_an_exception_that_can_be_asked_for():
    with launched("fast") as editor:
        told = editor.ok("setExceptionBreakpoints", filters=["saturation", "differs"])
        assert [b["verified"] for b in told["breakpoints"]] == [True, False]
        start(editor)
        scopes = editor.ok("scopes", frameId=1)["scopes"]
        assert "Queues" not in {scope["name"] for scope in scopes}


def test_text_in_a_file_of_ones_own(tmp_path):
    from isa.disassembler import disassemble

    path, other = tmp_path / "net.s", tmp_path / "other.s"
    path.write_text("# mine\n\n" + disassemble(COMPILED.image))
    other.write_text(".isa 4\n.text\n    halt\n")
    with launched(source=str(path)) as editor:
        lines = path.read_text().splitlines()
        (line,) = [n for n, text in enumerate(lines, 1) if "# 0004:" in text]
        (told,) = editor.ok(
            "setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}]
        )["breakpoints"]
        assert told["line"] == line
        start(editor)
        editor.stops("continue", threadId=1)
        (frame,) = editor.ok("stackTrace", threadId=1)["stackFrames"]
        assert (frame["source"]["path"], frame["line"]) == (str(path), line)
        refused = editor.ask("setBreakpoints", source={"path": str(other)}, breakpoints=[])
        assert (
            refused["message"] == f"{other}: not the text of this program; dmpc disasm writes that"
        )


def test_what_cannot_be_answered():
    with served() as editor:
        editor.ok("initialize", adapterID="dmpc")
        assert editor.ask("stackTrace", threadId=1)["message"] == "nothing is launched yet"
        assert editor.ask("launch", program="other")["message"] == "no such program"
        assert editor.ask("gotoTargets")["message"] == "no request 'gotoTargets' here"
        editor.ok("launch", program="net.elf")
        assert "arguments that are none" in editor.ask("setBreakpoints")["message"]
        editor.ok("disconnect")


def test_messages_that_are_none():
    for sent, said in (
        (b"Content-Length: 3\r\n\r\n{{{", "a message that is no JSON"),
        (b"Content-Length: 2\r\n\r\n[]", "a message that is no JSON object"),
        (b"Content-Length: 99999999999\r\n\r\n", "a message of 99999999999 bytes"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "a message of "),
    ):
        there, to = os.pipe()
        os.write(to, sent)
        os.close(to)
        with (
            open(there, "rb") as read,
            pytest.raises(RuntimeFailure, match=said),
        ):
            Adapter(read, lambda _: None, lambda _: pytest.fail("launched")).serve()
