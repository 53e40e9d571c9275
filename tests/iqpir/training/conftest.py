"""What the tests of training share."""

from support.recipes import one_thread

__all__ = ["one_thread"]
