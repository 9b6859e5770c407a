"""A script that stays in its episode until a file of the host's goes away, so that a test can look around."""

import os
import time
from collections.abc import Iterator

from envkit import Action, PublicTask, call


def play(task: PublicTask) -> Iterator[Action]:
    yield call("shell_run", command="echo guess > answer.txt; cat readme.txt")
    flag = os.environ["LINGER_FLAG"]
    open(flag + ".there", "w").close()
    while os.path.exists(flag):
        time.sleep(0.05)
