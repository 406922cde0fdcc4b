"""What the command line reports as one message instead of a traceback."""

from __future__ import annotations

import errno

# What the machine refuses: no space left, a quota, a file too large, no permission, a read-only disk, a
# failed write.
MACHINE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
)


class UserError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do."""
