"""The executable, and ``python -m qctl``."""

import gc

# Of what start-up makes nothing is garbage, and looking for some takes a twelfth of it; a command that runs has it back.
gc.disable()

from qctl.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
