"""The debugger as an editor's debug adapter: the Debug Adapter Protocol over two streams.

https://microsoft.github.io/debug-adapter-protocol/specification says what the messages mean.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from isa.errors import IsaError
from runtime.debug_commands import GOING_ON, Console
from runtime.debug_frames import Closed, Frames
from runtime.debug_source import Text, disassembled, from_file
from runtime.debug_values import look
from runtime.debug_variables import Variables
from runtime.debugger import Stop
from runtime.errors import RuntimeFailure

THREAD = 1
SOURCE = 1  # the number of the text that has no file
EXPRESSION = re.compile(r"\s*(.+?)\s*(?:\[\s*(\d+(?::\d+)?)\s*\])?\s*")
CAPABILITIES = {
    "supportsConfigurationDoneRequest": True,
    "supportsFunctionBreakpoints": True,
    "supportsEvaluateForHovers": True,
    "supportsRestartRequest": True,
    "supportsSteppingGranularity": True,
    "supportsLoadedSourcesRequest": True,
    "supportsTerminateRequest": True,
    "supportsCompletionsRequest": True,
    "exceptionBreakpointFilters": [
        {"filter": "saturation", "label": "A value does not fit its width"},
        {"filter": "differs", "label": "A value differs from the model's", "default": True},
    ],
}
Body = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """What is debugged: a console, and the name that its text goes by; errors are of `errors`."""

    console: Console
    name: str
    source: str = ""
    stop_on_entry: bool = True


class Adapter:
    """Answers an editor until it disconnects.

    `launch` opens what the editor's launch arguments ask for. A program that goes on does so in a
    thread of its own, and stops for a moment while requests are answered.
    """

    def __init__(
        self,
        read: BinaryIO,
        write: Callable[[bytes], object],
        launch: Callable[[Body], Opened],
        errors: tuple[type[Exception], ...] = (RuntimeFailure, IsaError),
    ) -> None:
        self._frames, self._launch, self._errors = Frames(read, write), launch, errors
        self._first_line = 1
        self._opened: Opened | None = None
        self._text = Text("", "", ())
        self._points: dict[str, list[int]] = {}
        self._variables: Variables | None = None
        self._thread: threading.Thread | None = None
        self._holding = self._interrupted = self._over = self._far = False

    # -- messages ---------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer requests until the editor disconnects, or its stream ends."""
        try:
            while not self._over:
                self._answer(self._frames.receive())
        except Closed:
            pass
        finally:
            self._hold()

    def _answer(self, request: Body) -> None:
        """Answer a request, and then let happen what it asked for."""
        if request.get("type") != "request":
            return
        command, arguments = str(request.get("command")), request.get("arguments") or {}
        told = {"request_seq": request.get("seq"), "command": command}
        handler = getattr(self, f"_do_{command}", None)
        going = self._hold() if command != "pause" else False
        then: Callable[[], None] | None = None
        try:
            if handler is None:
                raise RuntimeFailure(f"no request '{command}' here")
            body, then = handler(arguments)
            self._frames.send("response", success=True, body=body, **told)
        except self._errors as error:
            self._refuse(str(error), told)
        except (KeyError, TypeError, ValueError) as error:
            self._refuse(f"{command}: arguments that are none: {error!r}", told)
        if then:
            then()
        elif going:
            self._go(self.console.debugger.go)

    def _refuse(self, message: str, told: Body) -> None:
        error = {"id": 1, "format": message, "showUser": True}
        self._frames.send("response", success=False, message=message, body={"error": error}, **told)

    # -- beginning and end ------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """The console; RuntimeFailure if nothing was launched."""
        if self._opened is None:
            raise RuntimeFailure("nothing is launched yet")
        return self._opened.console

    def _do_initialize(self, arguments: Body) -> Any:
        self._first_line = 1 if arguments.get("linesStartAt1", True) else 0
        return CAPABILITIES, None

    def _do_launch(self, arguments: Body) -> Any:
        self._opened = self._launch(arguments)
        debugger = self.console.debugger
        image = debugger.program.image
        self._points["exception"] = [point.number for point in debugger.breakpoints]
        if self._opened.source:
            self._text = from_file(self._opened.source, image)
        else:
            self._text = disassembled(image, self._opened.name)
        return {}, lambda: self._frames.event("initialized")

    def _do_configurationDone(self, arguments: Body) -> Any:  # noqa: N802  the protocol's name
        del arguments
        assert self.console
        entry = self._opened is not None and self._opened.stop_on_entry
        return {}, lambda: self._begin(entry)

    def _begin(self, entry: bool) -> None:
        if entry:
            self._stopped(Stop("entry", ""))
        else:
            self._go(self.console.debugger.go)

    def _do_restart(self, arguments: Body) -> Any:
        del arguments
        self.console.debugger.restart()
        return {}, lambda: self._begin(True)

    def _do_disconnect(self, arguments: Body) -> Any:
        del arguments
        self._over = True
        return {}, None

    def _do_terminate(self, arguments: Body) -> Any:
        del arguments
        return {}, lambda: self._frames.event("terminated")

    # -- breakpoints ------------------------------------------------------------------------------

    def _replace(self, origin: str, wanted: list[list[str]]) -> list[Body]:
        """Breakpoints of an origin, as words; what became of each."""
        debugger = self.console.debugger
        for number in self._points.pop(origin, []):
            debugger.delete(number)
        self._points[origin] = numbers = []
        told: list[Body] = []
        for words in wanted:
            try:
                if not words:
                    raise RuntimeFailure("no instruction there or below")
                point = debugger.break_at(*words)
                numbers.append(point.number)
                told.append({"id": point.number, "verified": True})
            except RuntimeFailure as error:
                told.append({"verified": False, "message": str(error)})
        return told

    def _do_setBreakpoints(self, arguments: Body) -> Any:  # noqa: N802
        path = arguments["source"].get("path", "")
        if path and path != self._text.path and not arguments["source"].get("sourceReference"):
            self._text = from_file(path, self.console.debugger.program.image)
        lines = [int(point["line"]) + 1 - self._first_line for point in arguments["breakpoints"]]
        pcs = [self._text.pc_at(line) for line in lines]
        told = self._replace("source", [[] if pc is None else ["pc", str(pc)] for pc in pcs])
        for point, pc in zip(told, pcs, strict=True):
            if pc is not None:
                point["line"] = self._text.lines[pc] - 1 + self._first_line
        return {"breakpoints": told}, None

    def _do_setFunctionBreakpoints(self, arguments: Body) -> Any:  # noqa: N802
        """Their names are what follows `break` at a prompt: `timestep 50`, `spike layer1 7`."""
        names = [str(point["name"]).split() for point in arguments["breakpoints"]]
        return {"breakpoints": self._replace("function", names)}, None

    def _do_setExceptionBreakpoints(self, arguments: Body) -> Any:  # noqa: N802
        return {
            "breakpoints": self._replace("exception", [[f] for f in arguments["filters"]])
        }, None

    # -- going on ---------------------------------------------------------------------------------

    def _go(self, run: Callable[[], Stop], *, far: bool = True) -> None:
        """Let the program go on, in a thread, and tell when it stops; not `far`, if by a step."""
        self._variables, self._far = None, far

        def body() -> None:
            try:
                stop = run()
            except self._errors as error:
                stop = Stop("over", str(error))
            if stop.reason == "interrupt" and self._holding:
                self._interrupted = True
            else:
                self._stopped(stop)

        self._thread = threading.Thread(target=body, daemon=True)
        self._thread.start()

    def _hold(self) -> bool:
        """Stop for a moment a program that goes on; whether it did."""
        if self._thread is None:
            return False
        self._holding, self._interrupted = True, False
        if self._far and self._thread.is_alive() and self._opened:
            self._opened.console.debugger.interrupt.set()
        self._thread.join()
        if self._opened:
            self._opened.console.debugger.interrupt.clear()
        self._thread, self._holding = None, False
        return self._interrupted

    def _stopped(self, stop: Stop) -> None:
        """Tell the editor why the program stopped, or that it is over."""
        if stop.reason in ("end", "over"):
            if stop.text:
                self._frames.event("output", category="console", output=f"{stop.text}\n")
            self._frames.event("exited", exitCode=0)
            self._frames.event("terminated")
            return
        kind = stop.breakpoint.kind if stop.breakpoint else ""
        exception = stop.reason == "trap" or kind in ("saturation", "differs")
        reasons = {"interrupt": "pause", "trap": "exception"}
        reason = "exception" if exception else reasons.get(stop.reason, stop.reason)
        hit = {"hitBreakpointIds": [stop.breakpoint.number]} if stop.breakpoint else {}
        described = {"description": stop.text, "text": stop.text} if stop.text else {}
        self._frames.event(
            "stopped", reason=reason, threadId=THREAD, allThreadsStopped=True, **described, **hit
        )

    def _do_continue(self, arguments: Body) -> Any:
        del arguments
        debugger = self.console.debugger
        return {"allThreadsContinued": True}, lambda: self._go(debugger.go)

    def _do_next(self, arguments: Body) -> Any:
        del arguments
        debugger = self.console.debugger
        return {}, lambda: self._go(debugger.step, far=False)

    _do_stepIn = _do_next  # noqa: N815

    def _do_stepOut(self, arguments: Body) -> Any:  # noqa: N802
        """Out of a timestep, to the next one."""
        del arguments
        debugger = self.console.debugger
        return {}, lambda: self._go(debugger.step_timestep, far=False)

    def _do_pause(self, arguments: Body) -> Any:
        del arguments
        self.console.debugger.interrupt.set()
        return {}, None

    # -- looking ----------------------------------------------------------------------------------

    def _do_threads(self, arguments: Body) -> Any:
        del arguments
        return {"threads": [{"id": THREAD, "name": "sequencer"}]}, None

    def _source(self) -> Body:
        name: Body = {"name": self._text.name}
        if self._text.path:
            return {**name, "path": self._text.path}
        return {**name, "sourceReference": SOURCE}

    def _do_source(self, arguments: Body) -> Any:
        del arguments
        return {"content": self._text.text, "mimeType": "text/x-asm"}, None

    def _do_loadedSources(self, arguments: Body) -> Any:  # noqa: N802
        del arguments
        return {"sources": [self._source()]}, None

    def _do_stackTrace(self, arguments: Body) -> Any:  # noqa: N802
        del arguments
        at = self.console.at()
        pc = min(at["pc"], len(self._text.lines) - 1)
        step = "" if at["timestep"] is None else f", timestep {at['timestep']}"
        frame = {
            "id": 1,
            "name": f"{at['layer'] or 'control'}{step}, cycle {at['cycle']}",
            "line": self._text.lines[pc] - 1 + self._first_line,
            "column": self._first_line,
            "source": self._source(),
            "instructionPointerReference": str(at["pc"]),
        }
        return {"stackFrames": [frame], "totalFrames": 1}, None

    @property
    def _shown(self) -> Variables:
        if self._variables is None:
            self._variables = Variables(self.console)
        return self._variables

    def _do_scopes(self, arguments: Body) -> Any:
        del arguments
        return {"scopes": self._shown.scopes()}, None

    def _do_variables(self, arguments: Body) -> Any:
        found = self._shown.behind(int(arguments["variablesReference"]))
        start, count = arguments.get("start", 0), arguments.get("count", 0)
        return {"variables": found[start : start + count if count else None]}, None

    def _do_evaluate(self, arguments: Body) -> Any:
        """A name in a hover or watch; at the console, any command of the debugger."""
        text = str(arguments["expression"])
        if arguments.get("context") == "repl":
            console = self.console
            moved = any(text.split()[:1] == [name] for c in GOING_ON for name in c.names)
            told = "\n".join(console.do(text))
            self._variables = None
            reason = "over" if console.debugger.ended else "step"
            then = (lambda: self._stopped(Stop(reason, ""))) if moved else None
            return {"result": told, "variablesReference": 0}, then
        match = EXPRESSION.fullmatch(text)
        if not match:
            raise RuntimeFailure("nothing to look at")
        vector = look(self.console.debugger, match[1], match[2] or "")[0]
        if len(vector.integers) == 1:
            return {"result": vector.element(0), "variablesReference": 0}, None
        shown = self._shown.vector(vector)
        shown.pop("name")
        return {"result": shown.pop("value"), **shown}, None

    def _do_completions(self, arguments: Body) -> Any:
        text = str(arguments["text"])
        start = len(text) - len(text.split(" ")[-1])
        found = self.console.complete(text)
        return {
            "targets": [
                {"label": word, "start": start, "length": len(text) - start} for word in found
            ]
        }, None
