"""slowly.py END COMMAND …: runs a rank of a job so that a short run lasts long and costs nothing.

Whenever the history in --run.dir has grown by a round or a few, rank 0 stands still for a while, until there is a file
END, or SIGUSR1 tells the run to stop. The other ranks wait for it."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

LOOK, STOPPED = 0.001, 0.5  # seconds between two looks at the history; and that rank 0 stands still


def main():
    end, *command = sys.argv[1:]
    history = f"{command[command.index('--run.dir') + 1]}/history.csv"
    started = time.time()
    # What stops the command must not outlive it, nor leave it stopped.
    child = subprocess.Popen(command, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
    ended, told = threading.Event(), []

    def tell_to_stop(*_):
        told.append(True)
        child.send_signal(signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, tell_to_stop)

    def stop_and_go():
        seen = None
        while not told and not ended.wait(LOOK):
            if not os.path.exists(history) or os.path.exists(end):
                continue
            now = os.stat(history)
            if now.st_mtime < started or now.st_size == seen:
                continue
            seen = now.st_size
            child.send_signal(signal.SIGSTOP)
            ended.wait(STOPPED)
            child.send_signal(signal.SIGCONT)

    pace = threading.Thread(target=stop_and_go)
    if os.environ.get("PMIX_RANK") == "0":
        pace.start()
    code = child.wait()
    ended.set()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
