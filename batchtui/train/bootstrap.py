"""The worker's entry, run by path: `python …/batchtui/train/bootstrap.py RUN_DIRECTORY`.

The interpreter may belong to another environment, one that has torch and has never heard of this
package. Its own packages must stay the ones it imports, so the folder this package is installed
in does not go on the path: the package is put among the loaded modules by hand.

Loader processes that are not forked run this file again, under another name, for its imports.
"""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(HERE)


def make_importable() -> None:
    """Load `batchtui` from where this file is, and take this file's folder off the path."""
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != HERE]
    if "batchtui" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "batchtui", os.path.join(PACKAGE, "__init__.py"), submodule_search_locations=[PACKAGE]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["batchtui"] = module
    spec.loader.exec_module(module)


if sys.version_info < (3, 10):  # noqa: UP036  # somebody else's interpreter
    sys.stderr.write("launch.python: " + sys.executable + " is older than Python 3.10\n")
    sys.exit(2)

make_importable()

if __name__ == "__main__":
    from batchtui.train.main import main

    sys.exit(main(sys.argv[1]))
