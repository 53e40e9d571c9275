"""Run a repository's script with some of its text replaced: `patched.py SCRIPT OLD NEW [OLD NEW …] -- ARGUMENTS`.

For official scripts with their authors' own folders or graphics processors written into them: CUDA_VISIBLE_DEVICES is
the user's, and stays what it was when the script or what it imports sets it. It runs in the repository's Python,
whatever its version, so it imports nothing of this package; a text that is not there ends it, as the script is then
another one.
"""

import os
import sys

_DEVICES = "CUDA_VISIBLE_DEVICES"


def main(arguments):  # type: ignore[no-untyped-def]
    """Execute the script as if it were started with what follows the `--`."""
    script, rest = arguments[0], arguments[1:]
    end = rest.index("--")
    replaced, passed = rest[:end], rest[end + 1 :]
    with open(script, encoding="utf-8") as file:
        text = file.read()
    for old, new in zip(replaced[::2], replaced[1::2]):  # noqa: B905 – unknown to older versions
        if old not in text:
            sys.exit("%s does not hold %r: it is not the version that this entry was written for" % (script, old))  # noqa: UP031
        text = text.replace(old, new)
    hold_devices()
    sys.argv = [script, *passed]
    sys.path[0] = os.path.dirname(os.path.abspath(script))  # noqa: PTH100, PTH120 – as simple as python's own rule
    exec(compile(text, script, "exec"), {"__name__": "__main__", "__file__": script})  # noqa: S102 – as python SCRIPT does


def hold_devices():  # type: ignore[no-untyped-def]
    """Let the choice of visible devices stand: a script that names its authors' third one finds none elsewhere."""
    kind = type(os.environ)
    put, drop = kind.__setitem__, kind.__delitem__

    def setting(self, name, value):  # type: ignore[no-untyped-def]
        if name != _DEVICES:
            put(self, name, value)

    def deleting(self, name):  # type: ignore[no-untyped-def]
        if name != _DEVICES:
            drop(self, name)

    kind.__setitem__, kind.__delitem__ = setting, deleting  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1:])
