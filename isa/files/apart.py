"""Work in a process of its own: a library may die of a damaged file there, or come to no end.

The process is a copy of this one, so that nothing has to be loaded for it: it takes milliseconds.
Only Linux copies processes safely; elsewhere the work is done here.
"""

import faulthandler
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from typing import BinaryIO, NoReturn, TypeVar, cast

T = TypeVar("T")
ROOM = 4 << 30  # bytes of memory beside what is there already
COPIES = 8  # of what is worked on, besides
HUNGRY = 3  # how a process ends that asks for more


class Ended(Exception):
    """The process came to no end within its time or memory, or died; the message says which."""


def apart(work: Callable[[], T], seconds: float, size: int = 0) -> T:
    """What `work` returns or raises, in a process that has so many seconds of processor time.

    It works on so many bytes, and may take `ROOM` and `COPIES` times that. Results and errors must
    be picklable. Raises Ended.
    """
    if sys.platform != "linux":
        return work()
    with open(os.memfd_create("apart"), "w+b") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy needs none
            child = os.fork()
        if not child:
            _serve(work, file, seconds, ROOM + COPIES * size)
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:  # an interrupt
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        if status:
            raise Ended(_why(status, seconds))
        file.seek(0)
        done, result = pickle.load(file)
    if not done:
        raise result
    return cast(T, result)


def _why(status: int, seconds: float) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return f"came to no end within {seconds:.3g} s"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == HUNGRY:
        return "asked for more memory than such a file needs"
    return "died of it"


def _limit_memory(room: int) -> None:
    """Let this process take so many bytes more, if it may take as many at all."""
    import resource  # which Windows has not

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [used + room, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))


def _serve(work: Callable[[], T], file: BinaryIO, seconds: float, room: int) -> NoReturn:
    """Do the work, write what came of it, and end without a trace of what the copy inherited."""
    code = 1
    faulthandler.disable()  # whoever waits tells that a library died
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        _limit_memory(room)
        try:
            pickle.dump((True, work()), file, pickle.HIGHEST_PROTOCOL)
        except MemoryError:
            os._exit(HUNGRY)
        except Exception as error:
            file.seek(0)
            file.truncate()
            pickle.dump((False, error), file)
        file.flush()
        code = 0
    finally:
        os._exit(code)
