"""Ctrl-C is heard by a thread too, so that none is lost that comes just before a blocking read."""

import os
import signal
import socket
import threading

import pytest
from loopback import PATIENCE

from llm_kit._io.sigint import first_sigint_calls


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_calls_and_the_second_interrupts():
    called = threading.Event()
    with first_sigint_calls(called.set):
        press()
        assert called.wait(PATIENCE)
        with pytest.raises(KeyboardInterrupt):
            press()


def test_everything_is_put_back():
    handler, files = signal.getsignal(signal.SIGINT), set(os.listdir("/proc/self/fd"))
    with first_sigint_calls(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not handler
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.set_wakeup_fd(-1) == -1
    assert set(os.listdir("/proc/self/fd")) == files
    assert not [each for each in threading.enumerate() if "Ctrl-C" in each.name]


def test_the_handler_and_the_thread_both_call():
    """Whichever hears it first ends the wait: the handler can't, while a read blocks it."""
    heard, callers = threading.Event(), []

    def note():
        callers.append(threading.current_thread())
        heard.set()

    with first_sigint_calls(note):
        press()
        assert heard.wait(PATIENCE)
    assert {each is threading.main_thread() for each in callers} == {True, False}


def test_other_signals_are_handed_on_to_who_listened_before():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.settimeout(PATIENCE)
    called = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    outer = signal.set_wakeup_fd(theirs.fileno())
    try:
        with first_sigint_calls(called.set):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert ours.recv(1) == bytes([signal.SIGUSR1])
        assert not called.is_set()
        assert signal.set_wakeup_fd(-1) == theirs.fileno()
    finally:
        signal.set_wakeup_fd(outer)
        signal.signal(signal.SIGUSR1, before)
        ours.close()
        theirs.close()


def test_only_in_the_main_thread():
    caught = []

    def elsewhere():
        try:
            with first_sigint_calls(lambda: None):
                pass
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(PATIENCE)
    assert "main thread only" in str(caught[0])
