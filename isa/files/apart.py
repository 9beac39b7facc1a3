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


class Ended(Exception):
    """The process came to no end within its time, or died; the message says which."""


def apart(work: Callable[[], T], seconds: float) -> T:
    """What `work` returns or raises, in a process that has so many seconds of processor time.

    Results and errors must be picklable. Raises Ended.
    """
    if sys.platform != "linux":
        return work()
    with open(os.memfd_create("apart"), "w+b") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy needs none
            child = os.fork()
        if not child:
            _serve(work, file, seconds)
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:  # an interrupt
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        if status:
            late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            raise Ended(f"came to no end within {seconds:.3g} s" if late else "died of it")
        file.seek(0)
        done, result = pickle.load(file)
    if not done:
        raise result
    return cast(T, result)


def _serve(work: Callable[[], T], file: BinaryIO, seconds: float) -> NoReturn:
    """Do the work, write what came of it, and end without a trace of what the copy inherited."""
    code = 1
    faulthandler.disable()  # whoever waits tells that a library died
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            pickle.dump((True, work()), file, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            file.seek(0)
            file.truncate()
            pickle.dump((False, error), file)
        file.flush()
        code = 0
    finally:
        os._exit(code)
